"""What a column of numbers is: its name, how a cell's number is taken, printed and ranked.

The metrics here are shown by several tables, figures or notes; a column that one table alone has is an entry of that
table (``bench.tables.kinds`` and its siblings). Nothing else need know it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.environment import unlike

__all__ = [
    "AUC",
    "CT_S",
    "EMBEDDING_BYTES",
    "IT_S",
    "LOGLOSS",
    "METRICS",
    "N_KEPT",
    "PT_S",
    "TT",
    "TT_RATIO",
    "TT_S",
    "Cell",
    "Format",
    "Measure",
    "Metric",
    "as_timed",
    "count",
    "duration",
    "p_value",
    "recorded",
    "repeats",
    "signed",
    "significant",
]

MEASURABLE_S = 1e-3
"""Training times below this are printed as 0, and are neither best nor second."""
_CIRCUMSTANCES = ("host", "device", "threads")
Format = Callable[[float, float], str]
"""(value, like) -> text of ``value`` with as many decimals as suit ``like``."""
Cell = Mapping[str, Any]
"""A record by key."""
Measure = Callable[[Cell, Cell | None], float | None]
"""(cell, the baseline's cell of the same seed) -> the cell's number; None: not measured."""


@dataclass(frozen=True, eq=False)
class Metric:
    """One column of results; the first five fields make a whole one."""

    name: str
    """In files and on the command line."""
    title: str
    """In print."""
    better: Literal["higher", "lower"] | None
    """None: a description, never ranked."""
    decimals: int | Format
    """How many, or a rule."""
    measure: Measure | None = None
    """By default the record's number under ``name``, or what ``ratio_of`` says."""
    unit: str = ""
    """As printed; empty for a number without one."""
    scale: float = 1.0
    """Recorded value of one printed unit."""
    counted: bool = False
    """A whole number by nature, printed without ± where all seeds agree."""
    clock: Literal["training", "inference"] | None = None
    """Times of resumed cells are not shown; training times are ranked within one optimizer only."""
    phases: tuple[str, ...] = ()
    """Keys of a record's ``disturbed`` that make the time useless."""
    ratio_of: Metric | None = None
    """The metric whose ratio to the baseline's, seed by seed, this is; 1 for the baseline by definition."""
    optional: bool = False
    """Left out of a table where no cell has it."""
    of_data: bool = False
    """Optional, and a matter of the data set: left out beside others that have it, too."""
    unless_equal: Metric | None = None
    """The metric of the same table whose equal, cell by cell, need not be shown."""
    by_lot: Measure | None = None
    """What fields drawn by lot have on average, where that is known: said under the table."""
    meaning: str = ""
    """For the caption; ``{baseline}`` becomes the baseline and its seconds."""
    origin: str = ""
    """How a seed's number comes about, where it is not that of one cell."""

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]

    @property
    def heading(self) -> str:
        """Title, unit and direction, e.g. ``IT [s] ↓``."""
        parts = (self.title, f"[{self.unit}]" if self.unit else "", self.arrow)
        return " ".join(part for part in parts if part)

    @property
    def has_units(self) -> bool:
        """Whether the text of a number says its units, as ``4h23m23s``."""
        return self.decimals is duration

    @property
    def paper(self) -> Metric:
        """The column of the numbers that a paper prints."""
        return Metric(f"{self.name}_paper", "paper", None, self.decimals, unit=self.unit, scale=self.scale)

    @property
    def gap(self) -> Metric:
        """The column of the differences to a paper's numbers."""
        return replace(self.paper, name=f"{self.name}_gap", title="difference", decimals=signed(self.decimals))

    def number(self, cell: Cell, baseline: Cell | None = None) -> float | None:
        """One cell's number, or None: not measured, no time of the method's own, or no ratio of comparable times."""
        if self.clock is not None:
            cell, baseline = as_timed(cell), None if baseline is None else as_timed(baseline)
            if cell["resumed"] or self.disturbance(cell):
                return None
        if self.ratio_of is not None:
            if self.clock is not None and baseline is not None and unlike(cell, baseline):
                return None
            own, base = (None if one is None else self.ratio_of.number(one) for one in (cell, baseline))
            return own / base if own is not None and base else None
        found = cell[self.name] if self.measure is None else self.measure(cell, baseline)
        return None if found is None else float(found)

    def over_repeats(self, cell: Cell, baseline: Cell | None = None) -> list[float]:
        """The number by each repeat of a timing pass; a ratio is to the baseline's repeat of the same round."""
        own = repeats(cell) if self.clock is not None else []
        if self.ratio_of is None:
            pairs: list[tuple[Cell, Cell | None]] = [(one, None) for one in own]
        else:
            pairs = list(zip(own, [] if baseline is None else repeats(baseline), strict=False))
        return [number for one, base in pairs if (number := self.number(one, base)) is not None]

    def disturbance(self, cell: Cell) -> str:
        """What other work did to the cell's time; empty where it did nothing, or is not known to."""
        found = cell["disturbed"] or {}
        return next((found[phase] for phase in self.phases if phase in found), "")

    def text(self, value: float, like: float | None = None) -> str:
        """Print a recorded ``value`` with the decimals that suit ``like`` (default: itself)."""
        return _text(self.decimals, value / self.scale, (value if like is None else like) / self.scale)


def as_timed(cell: Cell) -> Cell:
    """The cell in the circumstances of its times: of its timing pass, if any, which shares and resumes nothing."""
    timing = cell.get("timing")
    if not timing:
        return cell
    return {**cell, "resumed": False, "pt_shared": False, **{key: timing[key] for key in _CIRCUMSTANCES}}


def repeats(cell: Cell) -> list[Cell]:
    """The cell as each repeat of its timing pass measured it, round by round; none without a pass."""
    timing, place = cell.get("timing"), as_timed(cell)
    found: list[Cell] = []
    if not timing:
        return found
    for number in range(timing["repeats"]):
        times = {key: timing[key][number] for key in ("pt_s", "ct_s", "it_s")}
        total = times["pt_s"] + times["ct_s"]
        found.append({**place, **times, "tt_s": total, "disturbed": timing["disturbed"][number], "timing": None})
    return found


def _text(decimals: int | Format, value: float, like: float) -> str:
    text = f"{value:,.{decimals}f}" if isinstance(decimals, int) else decimals(value, like)
    return text.removeprefix("-") if _is_zero(text) else text


def _is_zero(text: str) -> bool:
    """Whether a printed number is zero: it has no sign then."""
    return not any(digit in text for digit in "123456789")


def signed(decimals: int | Format) -> Format:
    """``decimals`` with a sign before every number that is printed as another than zero."""

    def text(value: float, like: float) -> str:
        shown = _text(decimals, abs(value), abs(like))
        return shown if _is_zero(shown) else ("-" if value < 0 else "+") + shown

    return text


def duration(value: float, like: float) -> str:
    """Seconds as ``4h23m23s``; under a minute with the decimals that show three significant digits of ``like``."""
    if value < 60:
        return f"{significant(3)(value, min(like, 60))}s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"


def significant(digits: int) -> Format:
    """Decimals that show ``digits`` significant ones of ``like``; digits before the point all stay."""

    def text(value: float, like: float) -> str:
        magnitude = math.floor(math.log10(abs(like))) if like else digits
        return f"{value:,.{max(0, digits - 1 - magnitude)}f}"

    return text


def _seconds(value: float, like: float) -> str:
    """Four significant digits of ``like``; 0 for what is under a millisecond, where a clock measures itself."""
    return significant(4)(value, like) if like >= MEASURABLE_S else "0"


def count(value: float, like: float) -> str:
    """A whole number, or one decimal where a mean over seeds is not whole."""
    return f"{value:,.0f}" if float(value).is_integer() and float(like).is_integer() else f"{value:,.1f}"


def p_value(value: float, like: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else "<0.0001"


def recorded(key: str) -> Measure:
    """The record's number under ``key``."""
    return lambda cell, baseline: cell[key]


def _n_kept(cell: Cell, baseline: Cell | None) -> float | None:
    return None if cell["kept_fields"] is None else len(cell["kept_fields"])


AUC = Metric("auc", "AUC", "higher", 4)
LOGLOSS = Metric("logloss", "Logloss", "lower", 4)
PT_S = Metric("pt_s", "PT", "lower", _seconds, unit="s", clock="training", phases=("pt",))
CT_S = Metric("ct_s", "CT", "lower", _seconds, unit="s", clock="training", phases=("ct",))
TT_S = Metric("tt_s", "TT", "lower", _seconds, unit="s", clock="training", phases=("pt", "ct"))
TT = replace(TT_S, name="tt", measure=recorded("tt_s"), decimals=duration, unit="", meaning="TT: all training time.")
TT_RATIO = Metric(
    "tt_ratio", "TT", "lower", 4, ratio_of=TT_S, clock="training", phases=("pt", "ct"),
    meaning="TT is the ratio, seed by seed, to {baseline}.",
    origin="each seed's training time over that of the method that keeps every field",
)  # fmt: skip
IT_S = Metric("it_s", "IT", "lower", significant(4), unit="ms", scale=1e-3, clock="inference", phases=("it",))
N_KEPT = Metric("n_kept", "Fields", None, count, _n_kept, counted=True)
EMBEDDING_BYTES = Metric(
    "embedding_bytes", "Embedding size", "lower", significant(4), unit="MiB", scale=2**20, counted=True
)

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (AUC, LOGLOSS, TT_RATIO, TT, PT_S, CT_S, TT_S, IT_S, N_KEPT, EMBEDDING_BYTES)
}
"""By name, for figures and for the paper's files."""
