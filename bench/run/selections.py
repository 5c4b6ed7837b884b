"""Rankings that several cells share: computed once, kept in the run folder, their time charged to every cell.

A method declares which of prune ratio, backbone and seed change its scores; cells that agree on those use one
ranking. Only plain rankings are shared: a selection that carries a model or masks belongs to its cell.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import StorageError
from bench.files import read_text, write_atomically
from bench.identity import config_hash
from bench.method import Decision, HandOver, Method, Remarks, Selection
from bench.records import plain
from bench.run.grid import MethodChoice

FIELD_TERMS = "field_terms"
"""Key of an identity: what a field budget counts, and on what terms fields may be dropped."""
MATCH = "match"
"""Key of an identity: the cell whose bytes this one is held to."""
_AXES = {"tau": "tau", "backbone": "backbone", "seed": "seed"}


def is_shared(method: Method[Any]) -> bool:
    """Whether a method's ranking serves more than one cell."""
    return method.info.scores == "select" and not set(_AXES) <= method.axes()


def is_plain(selection: Selection) -> bool:
    """Whether it is a ranking and no more: no model, masks, rows or choice of its own."""
    return set(selection.given(Decision)) == {"scores"} and not selection.given(HandOver)


def shared_key(identity: dict[str, Any], method: Method[Any]) -> str:
    """sha256 of a cell's identity without what does not change the ranking: some axes, and where a rate came from."""
    left_out = {"tuning"} | {axis for axis in _AXES if axis not in method.axes()}
    if "tau" in left_out:
        left_out |= {FIELD_TERMS, MATCH}
    if "backbone" in left_out:
        left_out |= {"backbone_params", "backbone_code"}
    return config_hash({name: value for name, value in identity.items() if name not in left_out})


def ranking_key(choice: MethodChoice, identity: dict[str, Any]) -> str | None:
    """``shared_key`` of a cell; None where it shares no ranking, or its plug-in cannot tell, as its cell will say."""
    if choice.error is not None:
        return None
    try:
        method = choice.make()
        return shared_key(identity, method) if is_shared(method) else None
    except Exception:  # a plug-in may fail in any way; only its own cells may suffer
        return None


class SelectionStore:
    """The shared rankings of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, key: str) -> Path:
        """Where the ranking ``key`` is kept."""
        return self.folder / f"{key[:16]}.json"

    def read(self, key: str) -> tuple[Selection, float] | None:
        """A stored ranking and the seconds it took, or None.

        Raises:
            StorageError: the file is not readable.
        """
        file = self.file(key)
        text = read_text(file)
        if text is None:
            return None
        try:
            stored = json.loads(text)
            scores = np.array(stored["scores"], dtype=np.float64)
            remarks = {item.name: stored[item.name] for item in fields(Remarks) if item.name in stored}
            return Selection(scores=scores, **remarks), float(stored["pt_s"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StorageError(f"{file} is not a readable ranking ({error}). Delete it and run again.") from error

    def write(self, key: str, selection: Selection, pt_s: float) -> None:
        """Keep a plain ranking; another selection is left to its cell."""
        if not is_plain(selection):
            return
        scores = np.asarray(selection.scores, dtype=np.float64).tolist()
        stored = {"scores": scores, **plain(selection.given(Remarks)), "pt_s": pt_s}
        with write_atomically(self.file(key)) as file:
            json.dump(stored, file)
