"""The order of the measurements, and the file they end in."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import environment, plugins
from bench.errors import ConfigError
from bench.files import write_atomically
from bench.speed import fuxictr, search, stages
from bench.speed.gates import GATES
from bench.speed.limits import Limits
from bench.speed.rate import ChildDiedError, Rate, in_child
from bench.speed.settings import SpeedConfig, Stage

PEERS = {fuxictr.PACKAGE: fuxictr}


@dataclass(frozen=True)
class Report:
    """All that was measured, and where."""

    config: SpeedConfig
    against: str | None
    limits: Limits | None
    rates: list[Rate]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "config": asdict(self.config),
            "against": self.against,
            "limits": None if self.limits is None else asdict(self.limits),
            "rates": [rate.to_dict() for rate in self.rates],
            "host": environment.host(),
            "versions": environment.versions(),
            "git": environment.git_commit(),
            "command": environment.command(),
        }

    def write(self, file: Path) -> None:
        """Write the report as JSON."""
        with write_atomically(file) as out:
            json.dump(self.to_dict(), out, indent=2)
            out.write("\n")


def measure(
    config: SpeedConfig,
    wanted: Sequence[Stage],
    backbones: Sequence[str],
    methods: Sequence[str] = (),
    against: str | None = None,
    tell: Callable[[Rate], None] = lambda rate: None,
) -> Report:
    """Measure the ``wanted`` stages, each in a process of its own; a peer's right after ours.

    Args:
        config: sizes and repeats.
        wanted: the stages.
        backbones: specs of backbones; those that train fastest and slowest are measured with gates and methods, the
            fastest for overhead; the first one where training is not measured.
        methods: specs of methods whose search is measured.
        against: a peer's package.
        tell: hears of every measurement.

    Raises:
        ConfigError: the peer is unknown or not installed.
    """
    peer = None if against is None else _peer(against)
    limits = in_child(stages.limits, config) if {"train", "gates"} & set(wanted) else None
    made = Measurements(config, limits, tell)
    if "prepare" in wanted:
        made.prepare(peer)
    trained = [(backbone, made.train(backbone, peer)) for backbone in backbones if "train" in wanted]
    extremes = _extremes(trained) if trained else [(backbones[0], None)]
    if "gates" in wanted:
        made.gates(extremes)
    if "search" in wanted:
        made.searches(extremes, methods)
    if "overhead" in wanted:
        made.add("overhead", extremes[0][0], stages.overhead, extremes[0][0])
    for backbone in backbones if "evaluate" in wanted else ():
        made.add("evaluate", backbone, stages.evaluation, backbone)
    if "metrics" in wanted:
        made.add("metrics", "AUC + log loss", stages.metrics)
    for name in shallow_methods() if "select" in wanted else ():
        made.add("select", name, stages.selector, name)
    return Report(config, against, limits, made.rates)


@dataclass
class Measurements:
    """What has been measured so far."""

    config: SpeedConfig
    limits: Limits | None
    tell: Callable[[Rate], None]
    rates: list[Rate] = field(default_factory=list)

    def add(self, stage: str, what: str, work: Callable[..., Rate], *arguments: Any) -> Rate:
        """Measure in a child process, or say why there is no measurement."""
        return self._keep(self._measured(stage, what, work, *arguments))

    def prepare(self, peer: Any) -> Rate:
        """Encode a raw table, and let the peer encode it right after."""
        with tempfile.TemporaryDirectory() as folder:
            raw = in_child(stages.raw_table, self.config, Path(folder))
            rate = self._measured("prepare", "raw table", stages.preparation, raw)
            return self._keep(rate if peer is None else self._beside(rate, peer, peer.prepare, raw))

    def train(self, backbone: str, peer: Any) -> Rate:
        """Train a backbone, and the peer's right after it."""
        rate = self._measured("train", backbone, stages.train, backbone, None, self.limits)
        if peer is not None and peer.model_name(backbone) is None:
            rate = replace(rate, note=f"{peer.PACKAGE} has no such model")
        elif peer is not None:
            rate = self._beside(rate, peer, peer.measure, backbone)
        return self._keep(rate)

    def gates(self, chosen: Sequence[tuple[str, Rate | None]]) -> None:
        """Train each backbone with every gate, and compare it with its rate without, where that is known."""
        for (backbone, plain), gate in itertools.product(chosen, GATES):
            what = f"{backbone}, {gate} gate"
            rate = self._measured("gated train", what, stages.train, backbone, gate, self.limits)
            times = None if plain is None else plain.ratio(rate.rows_per_s)
            self._keep(rate if times is None else replace(rate, note=f"{times:.2f}× the time without the gate"))

    def searches(self, chosen: Sequence[tuple[str, Rate | None]], methods: Sequence[str]) -> None:
        """Let each method search on every backbone."""
        for (backbone, _), method in itertools.product(chosen, methods):
            self.add("search", f"{backbone}, {method}", search.search, backbone, method)

    def _beside(self, rate: Rate, peer: Any, work: Callable[..., dict[str, Any]], *arguments: Any) -> Rate:
        """``rate`` with the peer's measurement, or why there is none."""
        try:
            return replace(rate, **in_child(work, self.config, *arguments))
        except Exception as error:  # a peer may fail in any way, and what is measured stays worth showing
            return replace(rate, note=f"{peer.PACKAGE}: {(str(error).strip() or type(error).__name__).splitlines()[0]}")

    def _measured(self, stage: str, what: str, work: Callable[..., Rate], *arguments: Any) -> Rate:
        try:
            return in_child(work, self.config, *arguments)
        except ChildDiedError as error:
            return Rate(stage, what, note=str(error))

    def _keep(self, rate: Rate) -> Rate:
        self.rates.append(rate)
        self.tell(rate)
        return rate


def shallow_methods() -> list[str]:
    """Names of the registered methods that train no network."""
    known = plugins.methods()
    entries = {name: known.entry(name) for name in known.names()}
    return [name for name, entry in entries.items() if entry.family == "shallow" and not entry.takes_ranking]


def searching_methods() -> list[str]:
    """Names of the registered methods that train a network in steps of their own to choose."""
    known = plugins.methods()
    plain = ("baseline", "control", "shallow", "sensitivity")
    return [name for name in known.names() if known.entry(name).family not in plain]


def _peer(name: str) -> Any:
    if name not in PEERS:
        raise ConfigError(f"against={name!r} is unknown; known: {', '.join(PEERS)}.")
    PEERS[name].require()
    return PEERS[name]


def _extremes(trained: Sequence[tuple[str, Rate]]) -> list[tuple[str, Rate | None]]:
    """The fastest backbone and the slowest, of those with matrix products: there a gate weighs most and least."""
    networks = [one for one in trained if one[1].flops_per_row] or trained
    ordered = sorted(networks, key=lambda one: -(one[1].rows_per_s or 0.0))
    return [ordered[0], *ordered[1:][-1:]]
