"""What ``import bench`` offers: data from a frame or a file, rankings, comparisons and advice as Python objects.

``frames``: frames of other libraries. ``cards``: a card for a table that is a frame or has none. ``data``: a prepared
data set. ``work``: what all of them run by. ``rank``, ``compare``, ``advise``: one function each, and its answer.
"""
