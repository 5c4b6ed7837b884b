from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY

from bench.checks import check_method
from bench.checks.example import example_data
from bench.errors import ConfigError
from bench.plugins import methods
from bench.records import RunFolder
from bench.run.cell import run_cell
from bench.run.grid import choose_method, expand
from bench.run.job import Job

NAMES = [f"f{number:02d}" for number in range(8)]
BEST_FIRST = ["f03", "f00", "f07", "f01", "f02", "f04", "f05", "f06"]
FLAGS = ["run", "--datasets", TINY, "--backbones", "dnn[mlp=4]", "--epochs", "1", "--seeds", "1"]

Bench = Callable[..., Any]
MakeJob = Callable[..., Job]


def scores_of(file: Path, make_job: MakeJob) -> list[float]:
    record = run_cell(make_job(f"ranking-file[path={file}]", epochs=1))
    assert record.status == "ok", record.reason
    assert record.field_scores is not None
    return [float(score or 0.0) for score in record.field_scores]


def order_of(scores: list[float]) -> list[str]:
    return [name for _, name in sorted(zip(scores, NAMES, strict=True), reverse=True)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "\n".join(BEST_FIRST)),
        ("b.csv", "field\n" + "\n\n".join(BEST_FIRST) + "\n"),
        ("c.csv", "\ufefffield,score\n" + "\n".join(f'"{name}", {-i}' for i, name in enumerate(BEST_FIRST))),
        ("d.csv", "\n".join(f"{name},{1 / (i + 1)}" for i, name in reversed(list(enumerate(BEST_FIRST))))),
        ("e.json", json.dumps(BEST_FIRST)),
        ("f.json", json.dumps({name: 100 - i for i, name in enumerate(BEST_FIRST)})),
    ],
)
def test_every_form_of_a_file_gives_its_order(name: str, text: str, tmp_path: Path, make_job: MakeJob) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert order_of(scores_of(file, make_job)) == BEST_FIRST


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.csv", "\n".join([*BEST_FIRST[1:], "f33"]), r"r.csv: the field 'f33' is unknown. Did you mean 'f03'\?"),
        (
            "r.csv",
            "\n".join([*BEST_FIRST, "xyz"]),
            r"'xyz' is unknown. The data have f00, f01, f02, f03, f04 and",
        ),
        ("r.csv", "\n".join(BEST_FIRST[:6]), r"does not name 2 of the 8 fields: f05, f06\. Add them"),
        ("r.csv", "\n".join([*BEST_FIRST, "f03"]), r"names the field 'f03' 2 times"),
        ("r.json", '{"f00": 1, "f00": 2}', r"names the field 'f00' 2 times"),
        ("r.csv", "f00,1\nf01,high", r"f01: the score 'high' is no number"),
        ("r.csv", "f00,1\nf01,nan", r"f01: the score 'nan' is not finite"),
        ("r.csv", "f00,1,2\n", r"the line 'f00,1,2' has 3 values"),
        ("r.csv", "\n \n", r"names no field. Write one name a line"),
        ("r.json", "[1, 2]", r"neither a list of names"),
        ("r.json", "{", r"r.json is no JSON"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)
    choice = choose_method(f"ranking-file[path={file}]")
    with pytest.raises(ConfigError, match=said):
        choice.make().check_fields(_schema())


def _schema() -> Any:
    from bench.data.schema import Field, Schema

    return Schema(tuple(Field(name, "categorical", 3) for name in NAMES))


def test_a_file_that_cannot_be_read_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'ranking-file needs path: write "ranking-file\[path=...\]"'):
        choose_method("ranking-file")
    with pytest.raises(ConfigError, match=r"path=.*absent.csv cannot be read: No such file"):
        choose_method(f"ranking-file[path={tmp_path / 'absent.csv'}]")
    (tmp_path / "latin.csv").write_bytes("größe".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.csv is no text in UTF-8"):
        choose_method(f"ranking-file[path={tmp_path / 'latin.csv'}]")


def test_what_the_file_holds_is_the_identity_and_where_it_lies_is_not(tmp_path: Path, make_job: MakeJob) -> None:
    def job(name: str, names: list[str]) -> Job:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(names))
        return make_job(f"ranking-file[path={file}]")

    first, moved = job("one/mine.csv", BEST_FIRST), job("two/other.csv", BEST_FIRST)
    changed = job("one/mine.csv", BEST_FIRST[::-1])
    assert first.hash == moved.hash != changed.hash
    assert first.method.label == "ranking-file[path=mine.csv]", "without folders"
    params = first.record().params
    assert params["path"]["file"] == "mine.csv"
    assert params["path"]["sha256"] != changed.record().params["path"]["sha256"]
    assert str(tmp_path) not in json.dumps(first.record().to_dict())


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("\n".join(example_data().schema.names))
    assert check_method(f"ranking-file[path={file}]", "dnn").skipped is None


def test_all_methods_are_those_that_need_no_file() -> None:
    assert "ranking-file" in methods().names()
    assert "ranking-file" not in expand(["all"], methods())


def test_a_run_has_it_as_a_row_and_refuses_it_before_anything_is_written(
    bench: Bench, data_dir: Path, tmp_path: Path
) -> None:
    flags = [*FLAGS, "--data-dir", str(data_dir), "--out", "r"]
    Path("mine.csv").write_text("\n".join(BEST_FIRST[:-1]))
    refused = bench(*flags, "--methods", "ranking-file[path=mine.csv]")
    assert (refused.code, Path("r").exists()) == (2, False)
    assert "error: mine.csv does not name 1 of the 8 fields: f06." in refused.err
    Path("mine.csv").write_text("\n".join(BEST_FIRST))
    (tmp_path / "mine.csv").write_text("\n".join(BEST_FIRST[::-1]))
    found = bench(*flags, "--methods", "no-selection", "ranking-file[path=mine.csv]")
    assert found.code == 0, found.err
    assert "Ranking File [path=mine.csv]" in found.out
    kept = [record.kept_fields for record in RunFolder(Path("r")).records() if record.method == "ranking-file"]
    assert kept == [[0, 1, 3, 7]]
    both = bench(*flags, "--methods", *(f"ranking-file[path={path}]" for path in ("mine.csv", tmp_path / "mine.csv")))
    assert both.code == 2
    assert "two methods are both shown as 'ranking-file[path=mine.csv]'; give one" in both.err
