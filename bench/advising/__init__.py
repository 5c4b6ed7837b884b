"""Advice: which fields can be dropped, what that costs, and what it saves.

``config``: what is asked. ``ranks``: many rankings as one. ``search``: which numbers of fields to look at. ``lab``:
cells of a run folder, trained and read back. ``around``: fields near the cut, one by one. ``advice``: the answer.
``advise``: all of it, in order. ``words``: the answer in sentences.
"""
