"""Ali-CCP's raw files, made by hand: lists of features in every row and, by key, once for many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data.prepare.prepare import prepare
from bench.data.schema import FIRST_VALUE, MISSING
from bench.datasets import aliccp, resolve_dataset
from bench.errors import ConfigError, DataError
from bench.rows.load import load

Feature = tuple[str, str, str]
HOME = Path(__file__).resolve().parent.parent.parent
KEYS = {
    "train": {"a1": [("101", "u1", "1.0"), ("109_14", "c", "2.39"), ("109_14", "a", "0.69"), ("122", "7", "1.0")]},
    "test": {"b2": [("101", "u2", "1.0")]},
}
"""Features by key, of the train and of the test rows."""
ITEM = [("205", "i1", "1.0"), ("210", "x", "1.0"), ("210", "y", "1.0"), ("508", "90", "0.69315"), ("999", "new", "1")]


def listed(features: Sequence[Feature]) -> str:
    return "\x01".join(f"{name}\x02{value}\x03{weight}" for name, value, weight in features)


def rows_of(part: str, n: int) -> list[tuple[str, int, list[Feature]]]:
    """Key, click and features of each row: every third has no 210, every item comes again and again."""
    key = next(iter(KEYS[part]))
    return [(key, int(i % 4 == 0), [("205", f"i{i % 3}", "1.0"), *(ITEM[1:] if i % 3 else ITEM[3:])]) for i in range(n)]


def write(folder: Path, end: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    for part, n in (("train", 300), ("test", 60)):
        common = [f"{key},{len(found)},{listed(found)}{end}" for key, found in KEYS[part].items()]
        lines = [
            f"{i},{click},0,{key},{len(found)},{listed(found)}{end}"
            for i, (key, click, found) in enumerate(rows_of(part, n))
        ]
        (folder / f"common_features_{part}.csv").write_text("".join(common), newline="")
        (folder / f"sample_skeleton_{part}.csv").write_text("".join(lines), newline="")
    return folder


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_have_their_own_features_and_those_of_their_key(tmp_path: Path, end: str) -> None:
    card = resolve_dataset("aliccp[min_count=1]")
    store = prepare(card, write(tmp_path / "raw", end), tmp_path / "data")
    data = load(store, card)
    train, test = rows_of("train", 300), rows_of("test", 60)
    assert len(data.train.labels) + len(data.valid.labels) == len(train)
    assert data.test.labels.tolist() == [click for _, click, _ in test]  # their own file, in its order
    assert len(data.schema.fields) == 23

    values = pq.read_table(store / "vocabulary.parquet").to_pylist()
    held = {name: [one["value"] for one in values if one["field"] == name][2:] for name in data.schema.names}
    assert sorted(held["205"]) == ["i0", "i1", "i2"]
    assert sorted(held["210"]) == ["x", "y"]
    assert sorted(held["109_14"]) == ["a", "c"]  # weights are left out
    assert held["101"] == ["u1"]  # test rows give the vocabulary nothing
    assert held["122"] == ["7"]
    assert all(held[name] == [] for name in ("121", "110_14", "853"))  # nowhere named: missing in all rows


def test_lists_are_cut_by_field_and_missing_ones_are_null() -> None:
    many = [("109_14", f"v{i}", "1.0") for i in range(aliccp.MOST + 2)]
    lists = pa.array([listed(ITEM), listed(many), listed(KEYS["train"]["a1"])])
    found = aliccp.cut(lists, ("205", "210", "109_14"))
    assert found["205"].to_pylist() == ["i1", None, None]
    assert found["210"].to_pylist() == ["x y", None, None]
    first = " ".join(f"v{i}" for i in range(aliccp.MOST))
    assert found["109_14"].to_pylist() == [None, first, "c a"]


def test_a_key_without_features_has_missing_values(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw")
    (raw / "common_features_train.csv").write_text("a1,0,\n")
    card = resolve_dataset("aliccp[min_count=1]")
    data = load(prepare(card, raw, tmp_path / "data"), card)
    local = data.train.ids.numpy() - data.schema.offsets[:-1]
    own = [data.schema.names.index(name) for name in ("205", "508")]
    of_key = [data.schema.names.index(name) for name in aliccp.COMMON]
    assert (local[:, of_key] == MISSING).all() and (local[:, own] >= FIRST_VALUE).all()


def test_pieces_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, raw = resolve_dataset("aliccp[min_count=1]"), write(tmp_path / "raw")
    more = "".join(f"k{i},1,101\x02u{i}\x031.0\n" for i in range(50))
    path = raw / "common_features_train.csv"
    path.write_text(path.read_text() + more)
    whole = prepare(card, raw, tmp_path / "whole")
    monkeypatch.setattr(aliccp, "_READ_BYTES", 7)
    pieces = prepare(card, raw, tmp_path / "pieces")
    for name in ("ids.npy", "pooled.npy", "labels.npy"):
        assert (whole / name).read_bytes() == (pieces / name).read_bytes()


def common(text: str) -> tuple[str, str]:
    return "common_features_train.csv", text


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (common("a1,2,101\x02u1\x031.0\n"), "common_features_train.csv: line 1 has 1 features, but says '2'"),
        (common("a1,1,101\x02u1\x031.0\nb,1\n"), "common_features_train.csv: line 2 has 2 columns, wanted 3"),
        (common("a1,1,101:u1\n"), "line 1 has the feature '101:u1', which is not field"),
        (common("a1,2,101\x02u\x031\x01101\x02v\x031\n"), "line 1 has several values of the field 101, which has one"),
        (common("a1,1,101\x02ü\x031.0\n"), "line 1 holds letters beyond ASCII"),
        (common("zz,1,101\x02u1\x031.0\n"), "the rows with the key 'a1' have no common features"),
        (("sample_skeleton_train.csv", "1,0,0,a1,1,205\x02i1\n" * 9), "sample_skeleton: the row with the features"),
        (("sample_skeleton_train.csv", "1,0,0,a1,1\n" * 9), "sample_skeleton_train.csv: line 1 has 5 columns"),
        (("sample_skeleton_train.csv", "1,2,0,a1,1,205\x02i1\x031\n" * 9), "line 1, column 'click': the label is '2'"),
    ],
)
def test_damage_is_named_and_nothing_is_left(tmp_path: Path, file: tuple[str, str], message: str) -> None:
    raw = write(tmp_path / "raw")
    (raw / file[0]).write_text(file[1], encoding="utf-8", newline="")
    with pytest.raises(DataError) as error:
        prepare(resolve_dataset("aliccp"), raw, tmp_path / "data")
    assert message in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["common_features_train.csv", "common_features_test.csv"], "common_features_train.csv is not there"),
        (["common_features_test.csv"], "the rows with the key 'b2' have no common features"),
        (["sample_skeleton_test.csv"], "names sample_skeleton_test.csv, which is not there"),
    ],
)
def test_files_that_are_not_there_are_named(tmp_path: Path, gone: list[str], message: str) -> None:
    raw = write(tmp_path / "raw")
    for name in gone:
        (raw / name).unlink()
    with pytest.raises(DataError) as error:
        prepare(resolve_dataset("aliccp"), raw, tmp_path / "data")
    assert message in str(error.value)


LOOKED_UP = """
name = "mine"
[raw]
RULE
[raw.columns]
y = "label"
k = "categorical"
[raw.looked_up]
COLUMN
"""


@pytest.mark.parametrize(
    ("rule", "column", "message"),
    [
        ("", 'x = "categorical"', "column 'x' is looked up, and no rule says where"),
        ('rule = "a:b"', 'x = "integer"', "column 'x' is looked up, and can be categorical alone, not 'integer'"),
        ('rule = "a:b"', 'k = { kind = "categorical", field = "z" }', "column 'k' is one of the file, too"),
        ('rule = "a:b"', 'x = { kind = "categorical", field = "k" }', "the field 'k' is made by two columns"),
    ],
)
def test_looked_up_columns_are_checked(tmp_path: Path, rule: str, column: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LOOKED_UP.replace("RULE", rule).replace("COLUMN", column))
    with pytest.raises(ConfigError) as error:
        resolve_dataset(str(path))
    assert message in str(error.value)


def test_a_rule_that_gives_no_such_column_is_named(tmp_path: Path) -> None:
    text = (
        (HOME / "bench" / "datasets" / "aliccp.toml").read_text().replace('853 = "categorical"', '854 = "categorical"')
    )
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('"853"', '"854"').replace('"aliccp"', '"mine"'))
    with pytest.raises(ConfigError, match=r"gives no values of the column '854'\. Did you mean '853'"):
        prepare(resolve_dataset(str(path)), write(tmp_path / "raw"), tmp_path / "data")
