"""One run: its settings, its grid, its cells and who computes them."""
