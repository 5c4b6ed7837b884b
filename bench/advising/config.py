"""What is asked of ``advise``: one dataclass is its flags and the arguments of the Python function."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from bench import plugins
from bench.budget import Budgeted
from bench.errors import ConfigError
from bench.run.check import check
from bench.run.config import RunConfig, base_config
from bench.run.grid import alone, choose_backbone, choose_method

__all__ = ["AdviseConfig", "baseline_name", "ranking_name", "run_config", "seconds_of"]

EXPERIMENT = "advise"
"""Whose settings hold where nothing is asked: rankers, backbone, prune ratio of the rankers' own rows."""
_PASSED_ON = ("seeds", "data_dir", "profile", "set", "rows", "device", "threads", "memory", "isolate")
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


@dataclass(frozen=True)
class AdviseConfig:
    """Say which fields can be dropped, what that costs in AUC, and what it saves.

    Fields are ranked by several rankers; models are trained on fewer and fewer of them, and without single ones near
    the cut. All are ordinary cells of a run folder: the same command goes on where it was, and `report` and `explain`
    show them.
    """

    data: tyro.conf.Positional[str]
    """Prepared data set by name, or the path of your own card (.toml)."""
    tolerance: float = 0.001
    """Loss of AUC that is allowed."""
    budget_by: Budgeted = "count"
    """What is to be small of what is kept: the number of fields; the bytes of their embeddings; their cost, or the
    number of their groups, as the card says under [fields]."""
    against: Literal["best", "all"] = "best"
    """What a loss must be below the tolerance against: best, all fields and the best set found, where fewer fields are
    better than all; or all fields alone, which may then drop fields that tell something."""
    backbone: str | None = None
    """CTR model that is trained; dnn by default."""
    seeds: int = 3
    """Trainings of every set of fields, two or more: intervals cover how far they lie apart."""
    time: str = "30m"
    """About how long all may take, e.g. 90s, 30m, 2h, 1h30m; what there was no time for is said."""
    rankers: tuple[str, ...] = ()
    """Methods to rank by; by default those of the experiment advise."""
    near: int = 4
    """Fields or groups on both sides of the cut that are dropped and added one by one."""
    out: Path | None = None
    """Run folder; results/runs/advise-NAME by default."""
    data_dir: Path = Path("data")
    """Folder of the encoded data sets."""
    profile: str = "auto"
    """Training settings, as of `run`."""
    set: tuple[str, ...] = ()
    """Settings of the profile to replace, e.g. dim=16 lr=3e-4."""
    rows: int | None = None
    """Use only this many rows, drawn before the split."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads; all cores by default."""
    memory: str | None = None
    """What the process may take of main memory, as of `run`."""
    isolate: bool = False
    """Run every cell in a process of its own."""

    @property
    def time_s(self) -> float:
        """Seconds that all may take."""
        return seconds_of(self.time)


def seconds_of(text: str) -> float:
    """Seconds of a duration such as 90s, 30m or 1h30m; a bare number is seconds.

    Raises:
        ConfigError: it is none, or not above 0.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    parts = [float(part or 0) for part in found.groups()] if found and text.strip() else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not seconds > 0:
        raise ConfigError(f"time={text!r} is no duration above 0; write 90s, 30m, 2h or 1h30m.")
    return seconds


def run_config(config: AdviseConfig) -> RunConfig:
    """The settings of the cells: rankers as methods, with what the experiment says where nothing was asked.

    Raises:
        ConfigError: a value out of range or an unknown name.
    """
    _check(config)
    base = base_config(EXPERIMENT, None, has_datasets=True)
    rankers = config.rankers or base.methods
    for text in rankers:
        choice = alone(choose_method(text))
        scored = choice.entry.scores != "none" and (choice.budget == "field" or choice.entry.scores == "select")
        if not scored or choice.entry.takes_ranking:
            raise ConfigError(
                f"rankers={text!r} does not rank fields by itself; name others, such as {base.methods[0]!r}."
            )
    backbone = config.backbone or base.backbones[0]
    choose_backbone(backbone)
    out = config.out or Path("results/runs") / f"advise-{_slug(config.data)}"
    if "," in str(out):
        raise ConfigError(f"out={out} has a comma in it, at which parameters of methods end; choose another folder.")
    asked: dict[str, Any] = {name: getattr(config, name) for name in _PASSED_ON}
    asked |= {"datasets": (config.data,), "methods": tuple(rankers), "backbones": (backbone,), "out": out}
    return check(replace(base, **asked, valid_predictions=True, config=None))


def _check(config: AdviseConfig) -> None:
    """Refuse what is out of range.

    Raises:
        ConfigError: the message names the flag, its value and what is allowed.
    """
    if not (math.isfinite(config.tolerance) and 0 < config.tolerance < 0.5):
        raise ConfigError(
            f"tolerance={config.tolerance:g} is out of range; allowed: (0, 0.5), the loss of AUC that you can bear."
        )
    if config.seeds < 2:
        raise ConfigError(
            f"seeds={config.seeds} is out of range; allowed: [2, inf): one says nothing of other trainings."
        )
    if config.near < 0:
        raise ConfigError(f"near={config.near} is out of range; allowed: [0, inf).")
    seconds_of(config.time)


def _slug(data: str) -> str:
    name = Path(data).stem if data.endswith(".toml") else data
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "data"


def ranking_name() -> str:
    """The method that is given its ranking as a file.

    Raises:
        ConfigError: none is installed.
    """
    known = plugins.methods()
    found = [name for name in known.names() if known.entry(name).takes_ranking]
    if not found:
        raise ConfigError("no installed method takes a ranking from a file; reinstall ctr-field-bench.")
    return found[0]


def baseline_name() -> str:
    """The method that keeps all fields."""
    known = plugins.methods()
    return next(name for name in known.names() if known.entry(name).family == "baseline")
