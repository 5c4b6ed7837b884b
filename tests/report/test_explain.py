"""A printed number leads back to its cells; what is not there is refused with what is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.records import CellRecord, RunFolder

Cell = Callable[..., CellRecord]
AUC = {0: 0.7125, 1: 0.7375}


@pytest.fixture
def run(tmp_path: Path, cell: Cell) -> RunFolder:
    run = RunFolder(tmp_path)
    for seed in (0, 1):
        run.write(cell(seed=seed, tt_s=4.0))
        run.write(
            cell("alpha", seed=seed, auc=AUC[seed], tt_s=3.0 - seed, command=f"python -m bench run --seeds {seed}")
        )
    run.write(cell("beta", status="failed", reason="ValueError: no"))
    return run


def explained(run: RunFolder, capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(["explain", str(run.path), *argv]) == 0
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_mean_is_taken_apart_into_its_seeds(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(run, capsys, "table2", "clicks", "alpha", "auc")
    assert lines[1].startswith("Alpha on clicks: AUC ↑ = 0.7250 ± 0.0177")  # sd of two: difference / √2
    cells = {record.seed: record.config_hash for record in run.records() if record.label == "alpha"}
    for seed in (0, 1):
        assert f"seed {seed}: {AUC[seed]!r} in {run.cell_file(cells[seed])}" in lines
        assert f"command: python -m bench run --seeds {seed}" in lines


def test_what_the_seeds_share_is_said_once(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(run, capsys, "table2", "clicks", "alpha", "auc")
    shared = lines.index("the same for seeds 0, 1:")
    assert [lines.index(f"command: python -m bench run --seeds {seed}") < shared for seed in (0, 1)] == [True, True]
    assert len([line for line in lines if line.startswith("profile: ")]) == 1
    assert lines.index("fields kept: f1, f2") > shared
    single = explained(run, capsys, "table2", "clicks", "beta", "auc")
    assert not any(line.startswith("the same for") for line in single)


def test_fields_are_named(run: RunFolder, cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    run.write(cell("coin", seed=0, field_names=["site", "hour", "user"], kept_fields=[0, 2]))
    lines = explained(run, capsys, "table2", "clicks", "coin", "auc")
    assert "fields kept: site, user" in lines
    assert "fields dropped: hour" in lines
    lines = explained(run, capsys, "table2", "clicks", "alpha", "auc")
    assert ("fields kept: f1, f2" in lines, "fields dropped: none" in lines) == (True, True)


def test_a_ratio_says_so_and_shows_each_seed_s(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(run, capsys, "table2", "clicks", "alpha", "tt_ratio")
    assert "each seed's training time over that of the method that keeps every field" in lines
    assert [line.split(" in ")[0] for line in lines if line.startswith("seed")] == ["seed 0: 0.75", "seed 1: 0.5"]


def test_a_missing_number_is_explained_by_its_note(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(run, capsys, "table2", "clicks", "beta", "auc")
    assert any("failed (ValueError: no)" in line for line in lines)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("table9", "clicks", "alpha", "auc"), "table='table9' is unknown. Did you mean 'table2'?"),
        (("table2", "click", "alpha", "auc"), "dataset='click' is not in this table. Did you mean 'clicks'?"),
        (("table2", "clicks", "alfa", "auc"), "method='alfa' is not in this table. Did you mean 'alpha'?"),
        (("table2", "clicks", "alpha", "acu"), "metric='acu' is not in this table. Did you mean 'auc'?"),
        (("table2", "clicks", "alpha", "auc", "--tau", "0.25"), "tau=0.25 is not in this table."),
        (("table2", "clicks", "alpha", "auc", "--backbone", "web"), "backbone='web' is not in this table."),
    ],
)
def test_what_is_not_there_is_refused(
    run: RunFolder, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], message: str
) -> None:
    assert main(["explain", str(run.path), *argv]) == 2
    assert message in capsys.readouterr().err
