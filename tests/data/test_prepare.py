"""Whole preparations of made-up files against the plain ones."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from plain_reference import criteo_lines, manifest_of, plain_bucket, plain_ids, plain_split, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.datasets import resolve_dataset
from bench.errors import DataError
from bench.rows.load import load

CRITEO_FIELDS = [*(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]


def criteo_rows(lines, merged=False):
    rows, labels = [], []
    for line in lines:
        label, *values = line.split("\t")
        labels.append(int(label))
        integers = [plain_bucket(text, merged) for text in values[:13]]
        texts = [text or None for text in values[13:]]
        rows.append(dict(zip(CRITEO_FIELDS, integers + texts, strict=True)))
    return rows, labels


def arrays(store: Path) -> dict[str, np.ndarray]:
    return {path.name: np.load(path) for path in store.glob("*.npy")}


def plain_arrays(rows, labels, fields, card):
    split = plain_split(labels, card.split_seed, [str(share) for share in card.shares])
    ids, kept = plain_ids(rows, split, fields, card.min_count)
    return {"ids.npy": ids, "labels.npy": labels, "split.npy": split}, kept


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("spec", ["criteo", "criteo[min_count=2,numeric_buckets=merged,split_seed=1]"])
def test_criteo_equals_the_plain_preparation(tmp_path, spec):
    lines = criteo_lines(700)
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    card = resolve_dataset(spec)
    store = prepare(card, tmp_path / "train.txt.gz", tmp_path / "out", settings=Settings(chunk_bytes=5000))
    rows, labels = criteo_rows(lines, card.merged_buckets)
    expected, kept = plain_arrays(rows, labels, CRITEO_FIELDS, card)
    found = arrays(store)
    assert_same(found, expected)
    assert {name: str(array.dtype) for name, array in found.items()} == {
        "ids.npy": "int32",
        "labels.npy": "uint8",
        "split.npy": "uint8",
    }
    opened = load(store, card)
    assert opened.schema.names == tuple(CRITEO_FIELDS)
    assert opened.schema.cardinalities.tolist() == [2 + len(kept[name]) for name in CRITEO_FIELDS]
    table = pq.read_table(store / "vocabulary.parquet").to_pylist()
    assert [row["value"] for row in table if row["field"] == "C1"] == [None, None, *kept["C1"]]
    in_train = np.array(expected["split.npy"]) == 0
    counts = np.bincount(expected["ids.npy"][in_train].ravel(), minlength=opened.schema.vocabulary_rows)
    assert [row["train_count"] for row in table] == counts.tolist()


def test_three_and_four_fall_onto_one_only_when_merged(tmp_path):
    lines = []
    for i, line in enumerate(criteo_lines(400)):
        values = line.split("\t")
        values[1] = "1234"[i % 4]
        lines.append("\t".join(values))
    raw = tmp_path / "train.txt"
    raw.write_text("\n".join(lines))
    ids = {}
    for buckets in ("apart", "merged"):
        card = resolve_dataset(f"criteo[numeric_buckets={buckets}]")
        column = arrays(prepare(card, raw, tmp_path / buckets))["ids.npy"][:4, 0].tolist()
        ids[buckets] = column
    assert ids == {"apart": [2, 3, 4, 4], "merged": [2, 3, 2, 2]}


AVAZU = "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,device_id,"
AVAZU += "device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"


def test_avazu_equals_the_plain_preparation(tmp_path):
    rng, names = random.Random(1), AVAZU.split(",")
    lines, rows, labels = [AVAZU], [], []
    for i in range(400):
        day, hour, click = rng.randrange(21, 31), rng.randrange(24), int(rng.random() < 0.2)
        row = {name: f"{int(rng.expovariate(0.2)):x}" for name in names[3:]}
        lines.append(",".join([str(10**18 + i), str(click), f"1410{day}{hour:02d}", *row.values()]))
        weekday = (day - 20) % 7  # 20 October 2014 was a Monday
        time = {"hour": str(hour), "weekday": str(weekday), "weekend": str(int(weekday >= 5))}
        rows.append(time | row)
        labels.append(click)
    raw = tmp_path / "train.csv"
    raw.write_text("\n".join(lines) + "\n")
    card = resolve_dataset("avazu")
    store = prepare(card, raw, tmp_path / "out")
    fields = ["hour", "weekday", "weekend", *names[3:]]
    assert_same(arrays(store), plain_arrays(rows, labels, fields, card)[0])
    assert list(load(store, card).schema.names) == fields


OWN = """
name = "mine"
min_count = 3
[split]
train = 0.6
valid = 0.2
test = 0.2
[raw]
label_rule = ">= 4"
[raw.columns]
rating = "label"
city = "categorical"
price = "numeric"
age = "integer"
note = "ignore"
weight = "numeric"
"""


def own_table(path, n=300, seed=0):
    rng = random.Random(seed)
    rows = []
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["note", "rating", "city", "price", "age", "weight"])
        for _ in range(n):
            city = rng.choice(["Köln, am Rhein", 'the "City"', "Rome", "", str(rng.randrange(100))])
            price = "" if rng.random() < 0.1 else f"{rng.gauss(100, 5):.3f}"
            age = "" if rng.random() < 0.1 else str(rng.randrange(90))
            rating = rng.choice(["1", "3.5", "4", "5.0"])
            writer.writerow(["x" * rng.randrange(9), rating, city, price, age, "7"])
            rows.append({"rating": rating, "city": city, "price": price, "age": age})
    return rows


def test_a_table_of_ones_own_with_numbers(tmp_path):
    rows = own_table(tmp_path / "table.csv")
    card = write_card(tmp_path, OWN)
    store = prepare(card, tmp_path / "table.csv", tmp_path / "out")
    labels = [int(float(row["rating"]) >= 4) for row in rows]
    split = plain_split(labels, 0, ["0.6", "0.2", "0.2"])
    coded = [{"city": row["city"] or None, "age": plain_bucket(row["age"], False)} for row in rows]
    ids, kept = plain_ids(coded, split, ["city", "age"], 3)
    n_city = 2 + len(kept["city"])
    present = np.array([row["price"] != "" for row in rows])
    expected = np.stack(
        [ids[:, 0], n_city + 1 + present, ids[:, 1] + 3, np.full(len(rows), n_city + 3 + 2 + len(kept["age"]) + 2)],
        axis=1,
    )
    opened = load(store, card)
    assert opened.schema.names == ("city", "price", "age", "weight")
    assert opened.schema.cardinalities.tolist() == [n_city, 3, 2 + len(kept["age"]), 3]
    assert opened.schema.numeric_fields == (1, 3)
    price = np.array([float(row["price"] or "nan") for row in rows])
    in_train = np.array(split) == 0
    standard = (price - np.nanmean(price[in_train])) / np.nanstd(price[in_train])
    for part, number in ((opened.train, 0), (opened.valid, 1), (opened.test, 2)):
        mine = np.flatnonzero(np.array(split) == number)
        np.testing.assert_array_equal(part.index, mine)
        np.testing.assert_array_equal(part.ids, expected[mine])
        np.testing.assert_array_equal(part.labels, np.array(labels)[mine])
        assert (part.ids.dtype, part.labels.dtype, part.numeric.dtype) == (torch.int32, torch.float32, torch.float32)
        np.testing.assert_allclose(part.numeric[:, 0], np.where(present, standard, 1)[mine], rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(part.numeric[:, 1], 0)


def test_numbers_that_are_always_missing_or_missing_in_train(tmp_path):
    lines = ["y,x,c", *(f"{i % 2},,a" for i in range(100))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    card = write_card(tmp_path, 'name = "m"\n[raw.columns]\ny = "label"\nx = "numeric"\nc = "categorical"')
    opened = load(prepare(card, tmp_path / "t.csv", tmp_path / "out"), card)
    assert opened.schema.cardinalities.tolist() == [3, 3]
    assert (opened.train.numeric == 1).all() and (opened.train.ids[:, 0] == 1).all()


def test_more_values_than_ids_can_number_are_refused(tmp_path, monkeypatch):
    own_table(tmp_path / "table.csv")
    card = write_card(tmp_path, OWN)
    fields = manifest_of(prepare(card, tmp_path / "table.csv", tmp_path / "out"))["fields"]
    n_ids = sum(one["cardinality"] for one in fields)
    monkeypatch.setattr("bench.data.prepare.encode.MOST_IDS", n_ids)
    prepare(card, tmp_path / "table.csv", tmp_path / "as-many")
    monkeypatch.setattr("bench.data.prepare.encode.MOST_IDS", n_ids - 1)
    with pytest.raises(DataError, match=f"take {n_ids} ids, and 32 bits number {n_ids - 1}: .* min_count"):
        prepare(card, tmp_path / "table.csv", tmp_path / "more")
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("chunk_bytes", [200, 3000, 1 << 24])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_store_does_not_depend_on_chunks_and_threads(tmp_path, monkeypatch, chunk_bytes, threads):
    monkeypatch.setattr("bench.data.prepare.dictionaries.MERGE_VALUES", 40)
    monkeypatch.setattr("bench.data.prepare.dictionaries.WAITING_BYTES", 0)
    rows = own_table(tmp_path / "table.csv", 250, seed=3)
    assert rows
    card = write_card(tmp_path, OWN)
    plain = manifest_of(prepare(card, tmp_path / "table.csv", tmp_path / "plain", settings=Settings(1 << 24, 1)))
    other = prepare(card, tmp_path / "table.csv", tmp_path / "other", settings=Settings(chunk_bytes, threads))
    found = manifest_of(other)
    for key in ("files", "scaling", "fields", "split_rows"):
        assert found[key] == plain[key], key


MIXED = """
name = "mixed"
min_count = 2
[raw]
header = false
delimiter = "DELIMITER"
missing = ["", "NA", "not known at all"]
[raw.columns]
y = "label"
late = "categorical"
words = "categorical"
n = "integer"
"""


def mixed_rows(n):
    """Short texts first and long ones late, texts that are no ASCII, integers in odd spellings."""
    rng = random.Random(5)
    rows = []
    for i in range(n):
        late = rng.choice(["a", "b", "12345678", ""]) if i < n // 2 else rng.choice(["a", "b" * 9, "é" * 5, "NA"])
        words = rng.choice(["", "NA", "not known at all", "x", "ü", "yz"])
        number = rng.choice(["", "7", "007", "-0", "0", "-12", "123456789012", "99999999"])
        rows.append((rng.choice("01"), late, words, number))
    return rows


@pytest.mark.parametrize("delimiter", [",", "::"])
@pytest.mark.parametrize("chunk_bytes", [40, 700, 1 << 24])
def test_values_that_turn_long_midway_equal_the_plain_preparation(tmp_path, monkeypatch, delimiter, chunk_bytes):
    monkeypatch.setattr("bench.data.prepare.dictionaries.MERGE_VALUES", 10)
    monkeypatch.setattr("bench.data.prepare.dictionaries.WAITING_BYTES", 0)
    raw = mixed_rows(400)
    (tmp_path / "t.csv").write_text("".join(delimiter.join(row) + "\n" for row in raw))
    card = write_card(tmp_path, MIXED.replace("DELIMITER", delimiter))
    store = prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=Settings(chunk_bytes, 2))
    gone = {"", "NA", "not known at all"}
    rows = [
        {
            "late": None if late in gone else late,
            "words": None if words in gone else words,
            "n": plain_bucket(number, False),
        }
        for _, late, words, number in raw
    ]
    expected, kept = plain_arrays(rows, [int(row[0]) for row in raw], ["late", "words", "n"], card)
    assert_same(arrays(store), expected)
    table = pq.read_table(store / "vocabulary.parquet").to_pylist()
    assert [row["value"] for row in table if row["field"] == "late"] == [None, None, *kept["late"]]
    assert "b" * 9 in kept["late"] and "a" in kept["late"]


def test_manifest_names_raw_files_but_no_paths(tmp_path):
    own_table(tmp_path / "table.csv")
    card = write_card(tmp_path, OWN)
    store = prepare(card, tmp_path / "table.csv", tmp_path / "out")
    manifest = manifest_of(store)
    assert [one["name"] for one in manifest["raw"]] == ["table.csv"]
    assert str(tmp_path) not in (store / "manifest.json").read_text()
    assert manifest["n_rows"] == 300 == sum(manifest["split_rows"].values())
    names = {path.name for path in store.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == names
    assert names == {"ids.npy", "numeric.npy", "labels.npy", "split.npy", "vocabulary.parquet"}


def test_progress_goes_through_all_phases_to_the_last_row(tmp_path):
    own_table(tmp_path / "table.csv")
    seen = []
    prepare(
        write_card(tmp_path, OWN),
        tmp_path / "table.csv",
        tmp_path / "out",
        progress=seen.append,
        settings=Settings(chunk_bytes=1000),
    )
    assert list(dict.fromkeys(one.phase for one in seen)) == ["read", "count", "write"]
    for phase in ("read", "count", "write"):
        rows = [one.rows for one in seen if one.phase == phase]
        assert rows == sorted(rows) and rows[-1] == 300
        assert all(0 <= one.share <= 1 for one in seen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv: the file is empty"),
        ("y,c\n", "table.csv: there are no rows below the header"),
        ("y,c\n1,a\n0,b\n", "data set 'm': 2 rows are too few to split"),
        ("y,c\n" + "1,a\n" * 40, "table.csv: the label column 'y': none of the 40 rows has the label 0"),
        ("y,c\n" + "1,a\n0,b\n" * 40 + "1,a,b\n", "table.csv: line 82 has 3 columns"),
        ("y,c\n" + "1,a\n0,b\n" * 40 + "yes,a\n", "table.csv: line 82, column 'y': the label is 'yes', not 0 or 1"),
    ],
)
def test_a_bad_table_leaves_nothing_behind(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text)
    card = write_card(tmp_path, 'name = "m"\n[raw.columns]\ny = "label"\nc = "categorical"')
    with pytest.raises(DataError, match=message):
        prepare(card, tmp_path / "table.csv", tmp_path / "data" / "m", settings=Settings(chunk_bytes=50))
    assert list((tmp_path / "data").iterdir()) == []


def test_raw_data_where_none_is_wanted_and_none_where_some_is(tmp_path):
    with pytest.raises(DataError, match="pass its raw data with --raw"):
        prepare(resolve_dataset("criteo"), None, tmp_path / "out")
    card = write_card(tmp_path, 'name = "m"\ngenerator = "a:b"')
    with pytest.raises(DataError, match="'m' is generated: leave out --raw"):
        prepare(card, tmp_path, tmp_path / "out")


def test_an_archive_without_the_table(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "test.txt").write_text("x")
    with pytest.raises(DataError, match=r"raw: holds no train.txt or .*it holds test.txt.*; pass the table's own file"):
        prepare(resolve_dataset("criteo"), tmp_path / "raw", tmp_path / "out")
