"""A trained model as a folder that needs nothing of this suite, and raw rows scored with it."""
