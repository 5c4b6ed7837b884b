"""What the tables of a report say: cells, columns, notes, and the numbers that figures draw."""
