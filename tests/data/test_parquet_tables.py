from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.errors import DataError

CARD = """
name = "mine"
[raw.columns]
y = "label"
c = "categorical"
n = "integer"
x = "numeric"
t = { kind = "time", format = "unix", parts = { hour = "hour" } }
skip = "ignore"
"""


def columns(n=200):
    rng = random.Random(0)
    return {
        "y": [rng.randrange(2) for _ in range(n)],
        "c": [rng.choice(["a", "b", "ü", None]) for _ in range(n)],
        "n": [rng.choice([None, *range(20)]) for _ in range(n)],
        "x": [rng.choice([None, rng.random()]) for _ in range(n)],
        "t": [rng.choice([None, rng.randrange(10**9)]) for _ in range(n)],
        "skip": [[1]] * n,
    }


@pytest.mark.parametrize("label", [pa.bool_(), pa.int64(), pa.float32(), pa.string()])
def test_a_parquet_table_gives_the_store_of_the_same_text(tmp_path, label):
    values = columns()
    arrays = {name: pa.array(value) for name, value in values.items()}
    arrays["y"] = arrays["y"].cast(pa.int8() if label != pa.bool_() else label).cast(label)
    arrays["c"] = arrays["c"].dictionary_encode()
    pq.write_table(pa.table(arrays), tmp_path / "t.parquet", row_group_size=70)
    lines = [",".join(values)]
    for row in zip(*values.values(), strict=True):
        lines.append(",".join(["" if v is None else "z" if isinstance(v, list) else repr(v).strip("'") for v in row]))
    (tmp_path / "t.csv").write_text("\n".join(lines))
    card = write_card(tmp_path, CARD)
    text = manifest_of(prepare(card, tmp_path / "t.csv", tmp_path / "text"))
    table = prepare(card, tmp_path / "t.parquet", tmp_path / "table", settings=Settings(chunk_bytes=2000))
    assert manifest_of(table)["files"] == text["files"]


def test_bad_parquet_tables(tmp_path):
    card = write_card(tmp_path, CARD)
    path = tmp_path / "t.parquet"
    values = columns()
    for changed, message in [
        ({"n": [1.5] * 200}, r"t.parquet: row 1, column 'n': '1.5' is not an integer; mend the value"),
        ({"c": [[1]] * 200}, r"column 'c' holds lists \(list.*multi = .combination. makes"),
        ({"y": [2] * 200}, r"t.parquet: row 1, column 'y': the label is '2', not 0 or 1"),
        ({"z": [2] * 200}, r"columns that the card does not name: 'z'"),
    ]:
        pq.write_table(pa.table(values | changed), path)
        with pytest.raises(DataError, match=message):
            prepare(card, path, tmp_path / "out")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"t.parquet: the file is cut short or damaged"):
        prepare(card, path, tmp_path / "out")
