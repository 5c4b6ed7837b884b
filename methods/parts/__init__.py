"""What several methods share; a method itself is one file beside this folder."""
