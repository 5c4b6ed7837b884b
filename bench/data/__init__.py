"""Data sets: cards, raw files, preparation and stores."""
