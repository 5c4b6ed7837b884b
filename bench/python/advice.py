"""``advise``: which fields can be dropped, what that costs, and what it saves, as an object."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.advising.advice import Advice as Found
from bench.advising.advise import advise as find
from bench.advising.config import AdviseConfig
from bench.budget import Budgeted
from bench.environment import called
from bench.errors import ConfigError, suggest
from bench.python.data import Data, checked
from bench.python.work import mark_of, progress, setting, several, teller, working_folder
from bench.report.advice import advice_text
from bench.report.build import build_report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Advice", "advise"]

_SETTINGS = ("profile", "set", "rows", "device", "threads", "memory", "isolate")


@dataclass(frozen=True)
class Advice:
    """Which fields can be dropped, and what that costs and saves."""

    folder: Path
    """Run folder, as ``python -m bench advise`` would have left it."""
    found: Found = field(repr=False)
    """All that was found out, as ``advice/advice.json`` holds it."""

    @property
    def sentence(self) -> str:
        """The answer."""
        return self.found.sentence

    @property
    def verdict(self) -> str:
        """drop, none, small (too few data to tell), noise or open (time ended)."""
        return self.found.verdict

    @property
    def kept(self) -> list[str]:
        """Fields that stay, best first; all of them where nothing can be dropped."""
        return self.found.kept

    @property
    def dropped(self) -> list[str]:
        """Fields that go, best first."""
        return self.found.dropped

    @property
    def frame(self) -> pd.DataFrame:
        """One row a field, best first: verdict, rank and its range, cost of dropping it alone with its interval."""
        import pandas as pd  # noqa: PLC0415 - slow to import

        return pd.DataFrame(self.found.rows)

    def report(self) -> Path:
        """Write tables and figures of the run folder; returns the page that opens with the advice."""
        build_report(self.folder)
        return self.folder / "report.html"

    def __str__(self) -> str:
        """What the command prints."""
        return advice_text(self.found)

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(text)}</p>" for text in self.found.details)
        opening = f"<p><b>{html.escape(self.sentence)}</b></p>{said}"
        return f"{opening}{self.frame.to_html(index=False, max_rows=60, float_format='{:.4g}'.format)}"


def advise(  # noqa: PLR0913 - keyword arguments, all with defaults
    data: Data,
    tolerance: float = 0.001,
    *,
    budget_by: Budgeted = "count",
    against: Literal["best", "all"] = "best",
    backbone: str | None = None,
    seeds: int = 3,
    time: str = "30m",
    rankers: str | Sequence[str] = (),
    near: int = 4,
    out: str | Path | None = None,
    verbose: bool = True,
    **settings: Any,
) -> Advice:
    """Say which fields can be dropped for a loss of AUC below the tolerance.

    Args:
        data: from ``bench.dataset``.
        tolerance: loss of AUC that is allowed.
        budget_by: what is to be small of what is kept: "count" of fields, "bytes", "cost" or "groups".
        against: what the loss is measured against, "best" of all sets found or "all" fields.
        backbone: model that is trained.
        seeds: trainings of every set of fields, at least 2.
        time: about how long all may take, e.g. 90s, 30m, 2h.
        rankers: methods to rank by; by default those of ``python -m bench advise``.
        near: fields on both sides of the cut that are dropped and added one by one.
        out: run folder, which a later call with the same settings goes on with; by default a temporary one.
        verbose: whether to show progress.
        **settings: profile, set, rows, device, threads, memory, isolate, as of the command.

    Raises:
        ConfigError: an unknown name or a value out of range.
        DataError: the data cannot be used, or a cell that the advice rests on has failed.
    """
    checked(data, "advise")
    for name in settings:
        if name not in _SETTINGS:
            raise ConfigError(f"advise({name}=…): there is no such setting.{suggest(name, _SETTINGS)}")
    given = {name: setting(name, value) for name, value in settings.items()}
    config = AdviseConfig(
        data=data.spec,
        tolerance=tolerance,
        budget_by=budget_by,
        against=against,
        backbone=backbone,
        seeds=seeds,
        time=time,
        rankers=several(rankers, "rankers") if rankers else (),
        near=near,
        data_dir=data.data_dir,
        **given,
    )
    folder = Path(out) if out is not None else working_folder(f"advise-{mark_of(repr(config), data.data_dir)}")
    config = replace(config, out=folder)
    with called("bench.advise"), progress(verbose) as reporter:
        found = find(config, reporter, teller(verbose))
    return Advice(folder, found)
