"""Figures: pure functions from a run's table to a Matplotlib figure, one file a figure."""
