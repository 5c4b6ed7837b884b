"""What advice finds of a planted truth, with its defaults; and of labels that are drawn by lot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.advising.advice import read_advice
from bench.datasets import resolve_dataset
from bench.datasets.planted import generate
from bench.stats.recovery import INTERACTION, MAIN, REDUNDANT

Bench = Callable[..., Any]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_true_fields_stay_and_noise_goes(bench: Bench, seed: int) -> None:
    data = f"planted[seed={seed}]"
    found = bench("advise", data, "--threads", "1", "--time", "60m", "--out", "a")
    assert found.code == 0, found.err
    advice = read_advice(Path("a"))
    assert advice is not None and advice.verdict == "drop"
    kinds = {name: role.partition(":")[0] for name, role in generate(resolve_dataset(data).params).roles.items()}
    true = {name for name, kind in kinds.items() if kind in (MAIN, INTERACTION)}
    noise = {name for name, kind in kinds.items() if kind not in (MAIN, INTERACTION, REDUNDANT)}
    assert true <= set(advice.kept)
    assert len(noise - set(advice.kept)) >= 0.8 * len(noise)


@pytest.mark.slow
def test_of_labels_drawn_by_lot_nothing_is_told(bench: Bench) -> None:
    draw = np.random.default_rng(0)
    rows = [",".join(map(str, row)) for row in draw.integers(0, 9, size=(4000, 6))]
    labels = draw.integers(0, 2, size=4000)
    lines = [f"{label},{row}" for label, row in zip(labels, rows, strict=True)]
    Path("lot.csv").write_text("\n".join(["click,a,b,c,d,e,f", *lines, ""]))
    columns = 'click = "label"\n' + "".join(f'{name} = "categorical"\n' for name in "abcdef")
    Path("lot.toml").write_text(f'name = "lot"\n[raw.columns]\n{columns}')
    assert bench("prepare", "lot.toml", "--raw", "lot.csv").code == 0
    found = bench("advise", "lot.toml", "--threads", "1", "--out", "a")
    assert found.code == 0, found.err
    assert "Nothing can be told: with all 6 fields the AUC is" in found.out
