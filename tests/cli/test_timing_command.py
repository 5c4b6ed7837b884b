"""``run --timing`` from the command line to the tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY

from bench.engine import disturbance
from bench.engine.disturbance import Reading
from bench.run import idle

Bench = Callable[..., Any]


@pytest.fixture
def argv(data_dir: Path) -> list[str]:
    flags = ["--datasets", TINY, "--data-dir", str(data_dir), "--backbones", "dnn[mlp=8]", "--epochs", "1"]
    return ["run", *flags, "--methods", "no-selection", "cardinality", "--executor", "inline", "--out", "x"]


def records() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(Path("x/cells").glob("*.json"))]


def test_a_pass_goes_over_the_cells_and_ends_with_tables_of_medians(bench: Bench, argv: list[str]) -> None:
    found = bench(*argv, "--seeds", "2", "--timing", "2")  # of cells that are all missing
    assert found.code == 0, found.err
    told = [line for line in found.err.splitlines() if line.startswith("timing [")]
    assert [line.partition("]")[0] for line in told] == [f"timing [{n}/8" for n in range(1, 9)]
    turns = [
        (line.split(" seed ")[0].split()[-2 if " τ" in line else -1], line.split("repeat ")[1][0]) for line in told
    ]
    first, second = "no-selection", "cardinality"
    assert turns == [(first, "1"), (second, "1"), (second, "2"), (first, "2")] * 2
    for record in records():
        assert len(record["timing"]["ct_s"]) == 2
        assert record["ct_s"] == pytest.approx(sum(record["timing"]["ct_s"]) / 2)
        assert record["tt_s"] == pytest.approx(record["pt_s"] + record["ct_s"])
        assert record["timing"]["differs"] is None
    assert "median of 2 repeats, interleaved" in " ".join(found.out.split())
    again = bench(*argv, "--seeds", "2", "--timing", "2")
    assert (again.code, again.err, again.out) == (0, "4 cells, 4 done before, 0 to run\n", found.out)
    explained = bench("explain", "x", "efficiency", records()[0]["dataset"], "no-selection", "ct_s")
    assert explained.out.count("CT of 2 repeats: ") == 2  # one a seed
    settings = Path("x/run.toml").read_text()
    assert "timing" not in settings.split("\n", 1)[1]  # who repeats the run from its settings times nothing


def test_a_busy_machine_is_bad_input_and_leaves_nothing(
    bench: Bench, argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = iter(range(10))
    monkeypatch.setattr(idle, "LOOK_S", 0.0)
    monkeypatch.setattr(disturbance, "reading", lambda: Reading({}, 0.0, 1e6 * next(busy), 0.0))
    found = bench(*argv, "--timing")
    assert found.code == 2
    assert "the machine is busy" in found.err and "repeat the command" in found.err
    assert "Traceback" not in found.err
    assert not Path("x").exists()


@pytest.mark.slow
def test_every_repeat_has_a_process_of_its_own(bench_process: Bench, argv: list[str], tmp_path: Path) -> None:
    place = argv.index("--executor")
    found = bench_process(*argv[:place], *argv[place + 2 :], "--timing", "2")
    if found.code == 2:
        pytest.skip(found.err)
    assert found.code == 0, found.err
    cells = [json.loads(file.read_text()) for file in (tmp_path / "x" / "cells").glob("*.json")]
    assert [len(cell["timing"]["pt_s"]) for cell in cells] == [2, 2]
    assert [cell["timing"]["differs"] for cell in cells] == [None, None]
