"""One table, written by Python's csv, compressed, and as Parquet: the same store, and the values that were written."""

from __future__ import annotations

import csv
import gzip
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare

CARD = """
name = "mine"
[raw]
delimiter = "{delimiter}"
escape = '{escape}'
newlines_in_values = true
[raw.columns]
y = "label"
c = "categorical"
d = "categorical"
"""
VALUE = st.lists(
    st.sampled_from(['"', '""', "\n", "\r\n", "\r", ",", ";", "\t", "a", " ", "é", "本", "0x1", "long enough"]),
    max_size=4,
).map("".join)
TABLE = st.lists(st.tuples(VALUE, VALUE), min_size=20, max_size=30)


def decoded(store):
    """The values of all rows as the store holds them, and the split of each; None: missing, False: unseen in train."""
    ids, splits = np.load(store / "ids.npy"), np.load(store / "split.npy")
    values = {}
    offset = 0
    for number, name in enumerate(("c", "d")):
        rows = [row for row in pq.read_table(store / "vocabulary.parquet").to_pylist() if row["field"] == name]
        for row in rows:
            values[number, offset + row["local_id"]] = {0: False, 1: None}.get(row["local_id"], row["value"])
        offset += len(rows)
    return [tuple(values[number, i] for number, i in enumerate(row)) for row in ids.tolist()], splits.tolist()


@settings(max_examples=40, deadline=None)
@given(
    table=TABLE,
    delimiter=st.sampled_from([",", ";", "\t"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    escape=st.sampled_from(["", "\\"]),
    chunk_bytes=st.sampled_from([64, 100, 1 << 20]),
    threads=st.integers(1, 4),
)
def test_a_table_of_any_texts_is_the_same_every_way(  # noqa: PLR0917 - one for each that may vary
    table, delimiter, quoting, line_end, escape, chunk_bytes, threads
):
    labels = [row % 2 for row in range(len(table))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
            keys = {"doublequote": not escape, "escapechar": escape or None}
            writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=line_end, **keys)
            writer.writerow(["y", "c", "d"])
            writer.writerows([label, *row] for label, row in zip(labels, table, strict=True))
        with (folder / "t.csv").open(newline="", encoding="utf-8") as file:
            if [tuple(row[1:]) for row in csv.reader(file, delimiter=delimiter, **keys)][1:] != table:
                return  # csv writes some lone carriage returns without quotes, which it cannot read back itself
        (folder / "t.csv.gz").write_bytes(gzip.compress((folder / "t.csv").read_bytes()))
        columns = {"y": labels, "c": [row[0] for row in table], "d": [row[1] for row in table]}
        pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=7)
        card = write_card(folder, CARD.format(delimiter=delimiter.replace("\t", "\\t"), escape=escape))
        work = Settings(chunk_bytes=chunk_bytes, threads=threads)
        stores = [
            prepare(card, folder / raw, folder / f"out-{raw}", settings=work)
            for raw in ("t.csv", "t.csv.gz", "t.parquet")
        ]
        assert len({str(manifest_of(store)["files"]) for store in stores}) == 1
        found, splits = decoded(stores[0])
        assert np.load(stores[0] / "labels.npy").tolist() == labels
    wanted = [tuple(value or None for value in row) for row in table]
    seen = [{row[field] for row, split in zip(wanted, splits, strict=True) if split == 0} for field in (0, 1)]
    assert found == [
        tuple(value if value is None or value in seen[field] else False for field, value in enumerate(row))
        for row in wanted
    ]
