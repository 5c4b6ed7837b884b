"""How fast every stage is, in what memory, and what share of the machine's limits that is."""
