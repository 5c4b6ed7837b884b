"""What only one of several workers of a cell does of its search, and the others are told of.

A search in which no model is trained cannot be divided: the first worker makes it, and the others wait. All else runs
in all of them.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from bench.engine.crew import once
from bench.method import Context, Method, Remarks, Selection
from bench.records import plain
from bench.rows.rows import Rows
from bench.run.selections import SelectionStore, is_plain

__all__ = ["read_once", "select_once"]


def select_once(method: Method[Any], ctx: Context[Any], train: Rows, held: Rows) -> Selection:
    """What ``method`` selects; computed by the first worker alone where it goes by no backbone and is a ranking."""
    if "backbone" in method.axes():
        return method.select(ctx, train, held)
    return once(lambda: method.select(ctx, train, held), _written, _read)


def read_once(shared: SelectionStore, key: str) -> tuple[Selection, float] | None:
    """The stored ranking of a cell and its seconds, or None: what the first worker finds, before it writes one.

    Raises:
        StorageError: the file is not readable.
    """

    def written(stored: tuple[Selection, float] | None) -> str:
        return json.dumps(None if stored is None else [_written(stored[0]), stored[1]])

    def read(text: str) -> tuple[Selection, float] | None:
        stored = json.loads(text)
        return None if stored is None else (_read(stored[0]), stored[1])

    return once(lambda: shared.read(key), written, read)


def _written(selection: Selection) -> str | None:
    if not isinstance(selection, Selection) or not is_plain(selection):
        return None
    scores = np.asarray(selection.scores, dtype=np.float64).tolist()
    return json.dumps({"scores": scores, **plain(selection.given(Remarks))})


def _read(text: str) -> Selection:
    held = json.loads(text)
    scores = np.array(held["scores"], dtype=np.float64)
    return Selection(scores=scores, **{item.name: held[item.name] for item in fields(Remarks) if item.name in held})
