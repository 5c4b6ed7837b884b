"""Rounding sensitivity: the same cells where sums are taken in another order, against the same cells with other seeds.

A run is repeated in processes of their own: with every number of threads that is asked for, and once with plain vector
instructions, without fused multiply-adds, as an older processor would compute. All of that is the same mathematics from
the same seeds; only rounding differs.

    by rounding   sample standard deviation of AUC over the repetitions of one seed, pooled over seeds
    by seed       sample standard deviation of AUC over seeds in one repetition, pooled over repetitions
    unstable      by rounding >= half of by seed, and by rounding >= 0.001

Half, not all: a training that blows up the last bit beyond all bounds ends as if it had other random numbers, but has
the same first weights, batches and rows, so that it can hardly move further than a seed moves it.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from bench.errors import ConfigError
from bench.flags import ROUNDING
from bench.records import CellRecord, RunFolder

__all__ = ["FOLDER", "Key", "Sensitivity", "Variant", "annotate", "repeat", "sensitivities", "text", "variants"]

FOLDER = "rounding"
"""Folder of the repetitions, within the run folder."""
LEAST = 1e-3
"""Deviation of AUC below which no method is called unstable: tables show ten times as fine."""
SHARE = 0.5
"""Of the deviation by seed."""
_PLAIN = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
"""What keeps torch and its libraries from wide vectors and fused multiply-adds."""


@dataclass(frozen=True)
class Variant:
    """One way to take the same sums."""

    name: str
    """Of its folder and column."""
    threads: int
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Key:
    """What the seeds and repetitions of one configuration share."""

    dataset: str
    backbone: str
    tau: float | None
    order: int
    label: str

    @classmethod
    def of(cls, cell: CellRecord) -> Key:
        order = cell.method_order if cell.method_order is not None else sys.maxsize
        return cls(cell.dataset, cell.backbone, cell.tau, order, cell.label)

    def __lt__(self, other: Key) -> bool:
        return self._place < other._place

    @property
    def _place(self) -> tuple[str, str, float, int, str]:
        return self.dataset, self.backbone, -1.0 if self.tau is None else self.tau, self.order, self.label


@dataclass(frozen=True)
class Sensitivity:
    """How far AUC moves by rounding and by seed."""

    means: Mapping[str, float]
    """Mean AUC over seeds, by repetition."""
    largest: float
    """Between two repetitions of one seed."""
    by_rounding: float
    by_seed: float | None
    """None of a single seed."""

    @property
    def unstable(self) -> bool | None:
        """None where a single seed leaves it open."""
        if self.by_rounding < LEAST:
            return False
        return None if self.by_seed is None else self.by_rounding >= SHARE * self.by_seed

    def to_dict(self) -> dict[str, object]:
        """For ``notes`` of the records."""
        return {
            "by_rounding": self.by_rounding,
            "largest": self.largest,
            "by_seed": self.by_seed,
            "repetitions": list(self.means),
            "unstable": bool(self.unstable),
        }


def variants(threads: Sequence[int]) -> list[Variant]:
    """A repetition for every number of threads, and one with plain instructions on the first of them."""
    found = [Variant(f"threads-{n}", n, {}) for n in dict.fromkeys(threads)]
    return [*found, Variant(f"plain-{threads[0]}", threads[0], _PLAIN)]


def repeat(
    run: RunFolder, variant: Variant, seeds: int, data_dir: Path | None, plugin: Sequence[str] = ()
) -> RunFolder:
    """Compute the cells of a run under a variant, in a process of its own; what is there already is kept.

    Raises:
        ConfigError: the repetition ended without the records of its cells.
    """
    out = RunFolder(run.path / FOLDER / variant.name)
    words = ["run", "--config", str(run.config_file), "--out", str(out.path), "--seeds", str(seeds)]
    words += ["--keep-predictions", "never", *(["--plugin", *plugin] if plugin else [])]
    words += ["--threads", str(variant.threads), *([] if data_dir is None else ["--data-dir", str(data_dir)])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(variant.threads), **variant.environment}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], env=environment, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode not in (0, 1):  # 1: a cell has failed, as it may have in the run itself
        raise ConfigError(
            f"{variant.name}: the repetition of {run.path} ended with exit status {done.returncode}, as said above."
        )
    return out


def sensitivities(repetitions: Mapping[str, Iterable[CellRecord]]) -> dict[Key, Sensitivity]:
    """By configuration, of those that have a result in two repetitions or more, in table order."""
    found: dict[Key, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, records in repetitions.items():
        for cell in records:
            if cell.status == "ok" and cell.auc is not None:
                found[Key.of(cell)][cell.seed][name] = cell.auc
    return {key: one for key in sorted(found) if (one := _sensitivity(found[key], list(repetitions))) is not None}


def _sensitivity(by_seed: Mapping[int, Mapping[str, float]], names: Collection[str]) -> Sensitivity | None:
    """Of the seeds that every repetition has; None where there are none, or a single repetition."""
    whole = {seed: numbers for seed, numbers in by_seed.items() if set(numbers) == set(names)}
    if not whole or len(names) < 2:
        return None
    spreads = [stdev(numbers.values()) for numbers in whole.values()]
    across = [[numbers[name] for numbers in whole.values()] for name in names]
    return Sensitivity(
        {name: fmean(numbers) for name, numbers in zip(names, across, strict=True)},
        max(max(numbers.values()) - min(numbers.values()) for numbers in whole.values()),
        _pooled(spreads),
        _pooled([stdev(numbers) for numbers in across]) if len(whole) > 1 else None,
    )


def _pooled(deviations: Sequence[float]) -> float:
    return math.sqrt(fmean(deviation**2 for deviation in deviations))


def annotate(run: RunFolder, found: Mapping[Key, Sensitivity]) -> int:
    """Write what was measured into ``notes`` of the run's own records, for its tables; return how many there were."""
    cells = [(cell, one) for cell in run.records() if (one := found.get(Key.of(cell))) is not None]
    for cell, one in cells:
        run.write(replace(cell, notes={**cell.notes, ROUNDING: one.to_dict()}))
    return len(cells)


def text(found: Mapping[Key, Sensitivity], title: Callable[[Key], str]) -> str:
    """One table by data set, backbone and prune ratio."""
    blocks: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    for key, one in found.items():
        names = list(one.means)
        block = blocks[key.dataset, key.backbone]
        if not block:
            block.append(["", *names, "largest", "by rounding", "by seed", ""])
        seed = "—" if one.by_seed is None else f"{one.by_seed:.5f}"
        verdict = {True: "UNSTABLE", None: "one seed: open", False: ""}[one.unstable]
        numbers = [f"{one.means[name]:.5f}" for name in names]
        block.append([title(key), *numbers, f"{one.largest:.5f}", f"{one.by_rounding:.5f}", seed, verdict])
    return "\n\n".join(f"{dataset}, {backbone}: AUC\n{_aligned(rows)}" for (dataset, backbone), rows in blocks.items())


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
