"""Figures, one file each: what is shown as plain data, and a function that makes a Matplotlib figure of it, or None.

Most draw from a ``Place``, the cells of one data set and one backbone; ``bench.report.figures`` lists them all.
"""
