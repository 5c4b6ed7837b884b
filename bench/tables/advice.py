"""Advice as tables of text: the fields, and the sets of fields that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.advising.advice import Advice, FieldAdvice, Look
from bench.advising.words import decimals, signed
from bench.stats.difference import Interval
from bench.tables.model import MISSING

__all__ = ["Grid", "curve", "field_grid", "look_grid"]


@dataclass(frozen=True)
class Grid:
    """A table whose cells are text."""

    title: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[str, ...], ...] = ()
    """Hashes of the cells behind each row; empty where there are none."""

    def only(self, rows: Sequence[int]) -> Grid:
        """Some of its rows."""
        return Grid(self.title, self.caption, self.headings, tuple(self.rows[i] for i in rows))


def field_grid(advice: Advice) -> Grid:
    """One row a field, the best of the consensus first."""
    twins = any(one.twin for one in advice.fields)
    headings = ("field", "advice", "rank", "from – to", "cost alone", "bytes", *(("twin of",) if twins else ()))
    caption = (
        f"Rank: in the consensus of {', '.join(advice.rankers)}; from – to: best and worst one over rankers and seeds. "
        "Cost alone: test AUC with the field less that without it, all other kept fields alike, ± half of the 95 % "
        "interval; near the cut only. unsure: kept, and that cost may be none; or dropped, and it costs for certain."
    )
    rows = tuple(_field(one, advice.tolerance, twins) for one in advice.fields)
    return Grid("Fields", caption, headings, rows)


def _field(one: FieldAdvice, tolerance: float, twins: bool) -> tuple[str, ...]:
    cost = MISSING if one.cost is None else _around(one.cost, tolerance)
    ranks = f"{one.best:g} – {one.worst:g}"
    own = (one.name, one.verdict, str(one.place), ranks, cost, f"{one.embedding_bytes:,}")
    return (*own, *((one.twin,) if twins else ()))


def look_grid(advice: Advice) -> Grid:
    """One row a set of fields, all fields first."""
    headings = ("K", "AUC", "against all", "on validation", "bytes", "inference", "training")
    whole = advice.whole
    caption = (
        "Against all: difference in AUC to all fields on test rows, mean over seeds ± half of the 95 % interval over "
        "seeds and rows; on validation: the same, by which K is chosen. Then what is left of the embeddings' bytes and "
        "of the times. * chosen; ' not a cut of the consensus."
    )
    rows: list[tuple[str, ...]] = [(f"{advice.n_fields}", f"{advice.whole_auc:.4f}", *[MISSING] * 2, *["100 %"] * 3)]
    cells: list[tuple[str, ...]] = [()]
    for look in advice.looks:
        mark = ("*" if look == advice.choice else "") + ("" if look.ranked else "'")
        shares = (
            _share(look.embedding_bytes, whole.get("embedding_bytes")),
            _share(look.inference_s, whole.get("inference_s")),
            _share(look.training_s, whole.get("training_s")),
        )
        ends = tuple(_around(interval, advice.tolerance) for interval in (look.test, look.valid))
        rows.append((f"{look.k}{mark}", f"{look.auc:.4f}", *ends, *shares))
        cells.append(look.cells)
    return Grid("Numbers of fields", caption, headings, tuple(rows), tuple(cells))


def _around(interval: Interval, tolerance: float) -> str:
    digits = decimals(tolerance)
    return f"{signed(interval.mean, digits)} ±{interval.half_width:.{digits}f}"


def _share(after: float | None, before: float | None) -> str:
    return MISSING if after is None or not before else f"{after / before:.0%}".replace("%", " %")


def curve(looks: Sequence[Look]) -> list[Look]:
    """Cuts of the consensus, by increasing K: what a curve goes through."""
    return sorted((look for look in looks if look.ranked), key=lambda look: look.k)
