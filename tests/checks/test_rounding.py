"""What is said of repetitions that differ in rounding alone; and the command, on a run of a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.checks import rounding
from bench.checks.rounding import Key, Sensitivity, Variant
from bench.cli import main
from bench.errors import ConfigError
from bench.identity import config_hash
from bench.records import CellRecord, RunFolder, to_frame
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles


def cell(method: str, seed: int, auc: float | None, **changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "dataset": "clicks", "backbone": "net", "method": method, "label": method, "method_order": len(method),
        "seed": seed, "tau": 0.5, "status": "failed" if auc is None else "ok", "auc": auc,
        "split_rows": {"train": 8, "valid": 1, "test": 1}, "profile": {"name": "small"}, **changes,
    }  # fmt: skip
    return CellRecord(**values, config_hash=config_hash({"method": method, "seed": seed}))


def measured(*repetitions: Sequence[float | None]) -> Sensitivity | None:
    """Of one method: AUC by seed, repetition by repetition."""
    names = [f"r{n}" for n in range(len(repetitions))]
    cells = {
        name: [cell("alpha", seed, auc) for seed, auc in enumerate(aucs)]
        for name, aucs in zip(names, repetitions, strict=True)
    }
    return next(iter(rounding.sensitivities(cells).values()), None)


def test_deviations_by_rounding_and_by_seed() -> None:
    found = measured([0.70, 0.72], [0.71, 0.75])
    assert found is not None
    # of two numbers the sample deviation is their difference over the root of two; pooled: root of the mean square
    assert found.by_rounding == pytest.approx(math.sqrt((0.01**2 + 0.03**2) / 2 / 2))
    assert found.by_seed == pytest.approx(math.sqrt((0.02**2 + 0.04**2) / 2 / 2))
    assert found.largest == pytest.approx(0.03)
    assert found.means == pytest.approx({"r0": 0.71, "r1": 0.73})
    assert found.unstable is True  # 0.0158 is more than half of 0.0224


@pytest.mark.parametrize(
    ("repetitions", "unstable"),
    [
        (([0.70, 0.72], [0.74, 0.71]), True),
        (([0.70, 0.75], [0.71, 0.76]), False),  # 0.01 against 0.05
        (([0.70, 0.7001], [0.7005, 0.7006]), False),  # by more than a seed, but nobody would see it
        (([0.70], [0.74]), None),  # a single seed leaves it open
        (([0.70], [0.7001]), False),
    ],
)
def test_unstable_is_what_moves_about_as_far_as_by_a_seed_and_visibly(
    repetitions: Sequence[Sequence[float]], unstable: bool | None
) -> None:
    found = measured(*repetitions)
    assert found is not None and found.unstable is unstable


def test_only_seeds_with_every_repetition_count() -> None:
    found = measured([0.70, 0.72, None], [0.71, None, 0.9])
    assert found is not None and found.by_seed is None and found.largest == pytest.approx(0.01)
    assert measured([0.70, None], [None, 0.71]) is None
    assert measured([0.70, 0.71]) is None


def test_every_number_of_threads_is_a_repetition_and_plain_instructions_are_one() -> None:
    found = rounding.variants([2, 4, 2])
    assert [(one.name, one.threads, bool(one.environment)) for one in found] == [
        ("threads-2", 2, False), ("threads-4", 4, False), ("plain-2", 2, True),
    ]  # fmt: skip


def test_a_run_s_tables_mark_what_is_unstable_and_nothing_else(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for method, auc in (("alpha", 0.7), ("betas", 0.8)):
        run.write(cell(method, 0, auc, method_title=method.title(), notes={"kept": 1}))
    shaky = Sensitivity({"a": 0.7, "b": 0.74}, 0.04, 0.028, 0.002)
    steady = replace(shaky, by_rounding=1e-5)
    keys = {one.label: Key.of(one) for one in run.records()}
    assert rounding.annotate(run, {keys["alpha"]: shaky, keys["betas"]: steady}) == 2
    assert all(
        one.notes["kept"] == 1 and set(one.notes["rounding"]["repetitions"]) == {"a", "b"} for one in run.records()
    )
    (table,) = overall_tables(to_frame(run.records()), Titles())
    assert {row.title: row.values[0].flags for row in table.rows} == {"Alpha": ("♯",), "Betas": ()}
    assert [note.text for note in table.notes if note.symbol == "♯"] == [
        "UNSTABLE, rounding alone moves its AUC at least half as far as a seed does: Alpha on clicks, seed 0 "
        "(standard deviation 0.0280 by rounding, 0.0020 by seed)."
    ]
    text = rounding.text({keys["alpha"]: shaky, keys["betas"]: steady}, lambda key: key.label.title())
    head, names, alpha, betas = text.splitlines()
    assert head == "clicks, net: AUC"
    assert names.split() == ["a", "b", "largest", "by", "rounding", "by", "seed"]
    assert alpha.split() == ["Alpha", "0.70000", "0.74000", "0.04000", "0.02800", "0.00200", "UNSTABLE"]
    assert betas.split()[-1] == "0.00200"


def test_the_command_repeats_a_run_and_notes_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    run.write(cell("alpha", 0, 0.7, method_title="Alpha"))
    run.config_file.write_text("seeds = 1\n")
    given: list[tuple[str, int]] = []

    def repeat(run: RunFolder, variant: Variant, seeds: int, data_dir: Path | None, plugin: Sequence[str]) -> RunFolder:
        given.append((variant.name, seeds))
        out = RunFolder(tmp_path / "rounding" / variant.name)
        for seed in range(seeds):
            out.write(cell("alpha", seed, 0.7 + 0.01 * len(given), method_title="Alpha"))
        return out

    monkeypatch.setattr(rounding, "repeat", repeat)
    assert main(["rounding", str(tmp_path)]) == 0
    assert given == [("threads-1", 2), ("threads-2", 2), ("plain-1", 2)]
    assert "UNSTABLE" in capsys.readouterr().out
    assert run.records()[0].notes["rounding"]["unstable"] is True
    assert main(["rounding", str(tmp_path), "--threads", "0"]) == 2
    assert main(["rounding", str(tmp_path), "--seeds", "0"]) == 2
    assert main(["rounding", str(tmp_path / "none")]) == 2
    run.config_file.unlink()
    assert main(["rounding", str(tmp_path)]) == 2


def test_a_repetition_runs_the_same_settings_elsewhere_and_says_where_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []
    status = 0

    def run(words: list[str], env: dict[str, str], **rest: Any) -> Any:
        calls.append((words, env))
        return type("Done", (), {"returncode": status})

    monkeypatch.setattr("bench.checks.rounding.subprocess.run", run)
    variant = Variant("plain-3", 3, {"SOME": "setting"})
    out: Callable[[], RunFolder] = lambda: rounding.repeat(RunFolder(tmp_path), variant, 4, tmp_path / "data")  # noqa: E731
    assert out().path == tmp_path / "rounding" / "plain-3"
    words, env = calls[0]
    flags = dict(zip(words[4::2], words[5::2], strict=True))
    assert words[1:4] == ["-m", "bench", "run"] and flags == {
        "--config": str(tmp_path / "run.toml"), "--out": str(out().path), "--seeds": "4", "--threads": "3",
        "--data-dir": str(tmp_path / "data"), "--keep-predictions": "never",
    }  # fmt: skip
    assert (env["SOME"], env["OMP_NUM_THREADS"]) == ("setting", "3")
    status = 2
    with pytest.raises(ConfigError, match=r"plain-3: the repetition of .* ended with exit status 2"):
        out()
