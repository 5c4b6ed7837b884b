"""From a raw file to a store."""
