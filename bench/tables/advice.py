"""Advice as tables of text: the fields, and the sets of fields that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.advising.advice import Advice, FieldAdvice, Look
from bench.advising.words import decimals, signed
from bench.stats.difference import Interval
from bench.tables.model import MISSING

__all__ = ["NOTE", "Grid", "curve", "field_grid", "look_grid"]

NOTE = "note"
"""Heading of the column of text."""


@dataclass(frozen=True)
class Grid:
    """A table whose cells are text."""

    title: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[str, ...], ...] = ()
    """Hashes of the cells behind each row; empty where there are none."""
    spare: tuple[str, ...] = ()
    """Headings of columns that are left out first where there is no room."""

    def only(self, rows: Sequence[int]) -> Grid:
        """Some of its rows."""
        return replace(self, rows=tuple(self.rows[i] for i in rows), cells=())

    def without(self, heading: str) -> Grid:
        """The same less one column."""
        place = self.headings.index(heading)
        rows = tuple((*row[:place], *row[place + 1 :]) for row in self.rows)
        return replace(self, headings=(*self.headings[:place], *self.headings[place + 1 :]), rows=rows)


def field_grid(advice: Advice) -> Grid:
    """One row a field, the best of the consensus first."""
    noted = any(_note(one) for one in advice.fields)
    headings = ("field", "advice", "rank", "from – to", "cost alone", "bytes", *((NOTE,) if noted else ()))
    caption = (
        f"Rank: in the consensus of {', '.join(advice.rankers)}; from – to: best and worst one over rankers and seeds. "
        "Cost alone: test AUC with the field less that without it, all other kept fields alike, ± half of the 95 % "
        "interval; near the cut only. unsure: kept, and that cost may be none; or dropped, and it costs for certain."
    )
    if any(one.group for one in advice.fields):
        caption += " The fields of a group go together: their rank is that of the best, their cost alone that of all."
    rows = tuple(_field(one, advice.tolerance, noted) for one in advice.fields)
    return Grid("Fields", caption, headings, rows, spare=("bytes", "from – to"))


def _note(one: FieldAdvice) -> str:
    """What is known of a field before anything was trained."""
    parts = (
        "kept by the card" if one.locked else "",
        f"group {one.group}" if one.group else "",
        "" if one.price is None else f"cost {one.price:g}",
        "" if one.leak is None else f"leak? AUC alone {one.leak:.3f}",
        f"twin of {one.twin}" if one.twin else "",
    )
    return ", ".join(part for part in parts if part)


def _field(one: FieldAdvice, tolerance: float, noted: bool) -> tuple[str, ...]:
    cost = MISSING if one.cost is None else _around(one.cost, tolerance)
    ranks = f"{one.best:g} – {one.worst:g}"
    own = (one.name, one.verdict, str(one.place), ranks, cost, f"{one.embedding_bytes:,}")
    return (*own, *((_note(one),) if noted else ()))


def look_grid(advice: Advice) -> Grid:
    """One row a set of fields, all fields first."""
    whole = advice.whole
    costs = (("cost", "cost"),) if whole.get("cost") else ()
    shown = (*costs, ("embedding_bytes", "bytes"), ("inference_s", "inference"), ("training_s", "training"))
    headings = ("K", "AUC", "against all", "on validation", *(heading for _, heading in shown))
    caption = (
        "Against all: difference in AUC to all fields on test rows, mean over seeds ± half of the 95 % interval over "
        "seeds and rows; on validation: the same, by which K is chosen. Then what is left of "
        f"{'the cost, ' if costs else ''}the embeddings' bytes and of the times. * chosen; "
        "' not a cut of the consensus."
    )
    rows: list[tuple[str, ...]] = [
        (f"{advice.n_fields}", f"{advice.whole_auc:.4f}", *[MISSING] * 2, *["100 %"] * len(shown))
    ]
    cells: list[tuple[str, ...]] = [()]
    for look in advice.looks:
        mark = ("*" if look == advice.choice else "") + ("" if look.ranked else "'")
        shares = (_share(getattr(look, key), whole.get(key)) for key, _ in shown)
        ends = tuple(_around(interval, advice.tolerance) for interval in (look.test, look.valid))
        rows.append((f"{look.k}{mark}", f"{look.auc:.4f}", *ends, *shares))
        cells.append(look.cells)
    return Grid("Numbers of fields", caption, headings, tuple(rows), tuple(cells), ("training", "inference", "AUC"))


def _around(interval: Interval, tolerance: float) -> str:
    digits = decimals(tolerance)
    return f"{signed(interval.mean, digits)} ±{interval.half_width:.{digits}f}"


def _share(after: float | None, before: float | None) -> str:
    return MISSING if after is None or not before else f"{after / before:.0%}".replace("%", " %")


def curve(looks: Sequence[Look]) -> list[Look]:
    """Cuts of the consensus, by increasing K: what a curve goes through."""
    return sorted((look for look in looks if look.ranked), key=lambda look: look.k)
