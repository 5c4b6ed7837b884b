"""``python -m bench speed``: rows per second and peak memory of every stage, beside the machine's limits."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from bench import plugins
from bench.errors import ConfigError
from bench.run.grid import alone, choose_backbone, choose_method, expand
from bench.speed.settings import STAGES, SpeedConfig, Stage, check

if TYPE_CHECKING:
    from bench.speed.rate import Rate

PROG = "python -m bench speed"


@dataclass(frozen=True)
class SpeedFlags(SpeedConfig):
    """Measure how fast this machine prepares, trains, evaluates and selects, on generated rows."""

    backbones: tuple[str, ...] = ("all",)
    """CTR models by name, with parameters in brackets, "paper" or "all"."""
    methods: tuple[str, ...] = ()
    """Methods whose search is measured; without this flag all that train a network to choose."""
    stages: tuple[Stage, ...] = STAGES
    """What to measure."""
    against: str | None = None
    """A peer to measure beside: fuxictr, if it is installed here; it trains on the CPU, with its own defaults."""
    json: Path | None = None
    """File for all measurements."""


def command(argv: Sequence[str]) -> int:
    """Measure and print the table.

    Raises:
        ConfigError: an unknown name, a value out of range, a device or a peer that is not there.
    """
    flags = tyro.cli(SpeedFlags, args=list(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    config = check(SpeedConfig(**{f.name: getattr(flags, f.name) for f in dataclasses.fields(SpeedConfig)}))
    plugins.check_layout()
    backbones = [choose_backbone(text).label for text in expand(flags.backbones, plugins.backbones())]
    if not backbones or not flags.stages:
        raise ConfigError("backbones and stages must each name at least one.")
    methods = [alone(choose_method(text)).label for text in expand(flags.methods, plugins.methods())]
    from bench.engine.device import choose_device  # noqa: PLC0415 - loads torch
    from bench.speed.run import measure, searching_methods  # noqa: PLC0415
    from bench.speed.table import line, text  # noqa: PLC0415

    device = choose_device(config.device)
    if flags.against is not None and device.type != "cpu":
        raise ConfigError(f"against={flags.against} runs on the CPU; leave --device {config.device} out.")
    config = dataclasses.replace(config, device=str(device))

    def tell(rate: Rate) -> None:
        sys.stderr.write(f"{line(rate)}\n")

    report = measure(config, flags.stages, backbones, methods or searching_methods(), flags.against, tell)
    sys.stdout.write(f"\n{text(report)}\n")
    if flags.json is not None:
        report.write(flags.json)
        sys.stdout.write(f"{flags.json}\n")
    return 0
