"""A prepared data set on disk: its files, its manifest and its splits."""
