"""A first look at a raw table that has no card: what its columns seem to be, and a card that says so."""
