from __future__ import annotations

import gc
import json
import random
import re
import shutil
import weakref
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reference import manifest_of, plain_bucket, plain_hash, plain_ids, plain_split, write_card

from bench.data.prepare.prepare import prepare
from bench.data.store.store import Store, StoreFacts, read_facts, store_folder
from bench.datasets import resolve_dataset
from bench.errors import DataError
from bench.rows.load import load

CARD = """
name = "mine"
min_count = 2
[raw.columns]
y = "label"
c = "categorical"
n = "integer"
x = "numeric"
d = "categorical"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store, its card and its rows."""
    folder = tmp_path_factory.mktemp("store")
    rng = random.Random(5)
    rows = [
        {
            "y": str(int(rng.random() < 0.4)),
            "c": rng.choice(["", *"abcdefgh"]),
            "n": rng.choice(["", str(int(rng.expovariate(0.1)))]),
            "x": rng.choice(["", f"{rng.random():.4f}"]),
            "d": f"{int(rng.expovariate(0.02)):03d}",
        }
        for _ in range(600)
    ]
    lines = ["y,c,n,x,d", *(",".join(row.values()) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines))
    card = write_card(folder, CARD)
    return prepare(card, folder / "t.csv", folder / "data" / "mine"), card, rows


@pytest.mark.parametrize("wanted", [40, 299, 599])
def test_fewer_rows_equal_a_preparation_of_those_rows_alone(made, wanted):
    store, card, rows = made
    chosen = sorted(sorted(range(600), key=lambda row: plain_hash(0, row))[:wanted])
    labels = [int(rows[i]["y"]) for i in chosen]
    split = np.array(plain_split(labels, 0, ["0.8", "0.1", "0.1"], chosen))
    coded = [{"c": rows[i]["c"] or None, "n": plain_bucket(rows[i]["n"], False), "d": rows[i]["d"]} for i in chosen]
    ids, kept = plain_ids(coded, split.tolist(), ["c", "n", "d"], 2)
    present = np.array([rows[i]["x"] != "" for i in chosen])
    number = np.array([float(rows[i]["x"] or "nan") for i in chosen])
    at_x = 4 + len(kept["c"]) + len(kept["n"])
    expected = np.stack([ids[:, 0], ids[:, 1], at_x + 1 + present, ids[:, 2] + 3], axis=1)
    standard = (number - np.nanmean(number[split == 0])) / np.nanstd(number[split == 0])
    opened = load(store, card, wanted)
    assert opened.schema.names == ("c", "n", "x", "d")
    assert opened.schema.cardinalities.tolist() == [2 + len(kept["c"]), 2 + len(kept["n"]), 3, 2 + len(kept["d"])]
    assert sum(opened.split_rows.values()) == wanted
    for part, number_of in ((opened.train, 0), (opened.valid, 1), (opened.test, 2)):
        mine = split == number_of
        np.testing.assert_array_equal(part.index, np.array(chosen)[mine])
        np.testing.assert_array_equal(part.ids, expected[mine])
        np.testing.assert_array_equal(part.labels, np.array(labels)[mine])
        np.testing.assert_allclose(part.numeric[:, 0], np.where(present, standard, 1)[mine], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wanted", [600, 10_000])
def test_as_many_rows_as_there_are_or_more_mean_all(made, wanted):
    store, card, _ = made
    everything, opened = load(store, card), load(store, card, wanted)
    assert opened.split_rows == everything.split_rows == {"train": 480, "valid": 60, "test": 60}
    np.testing.assert_array_equal(opened.train.ids, everything.train.ids)
    np.testing.assert_array_equal(opened.train.numeric, everything.train.numeric)


def test_too_few_rows(made):
    store, card, _ = made
    for wanted in (-1, 0, 9):
        with pytest.raises(DataError, match=rf"'mine' with rows={wanted}: too few rows to split; give at least 10"):
            load(store, card, wanted)
    with pytest.raises(DataError, match=r"with rows=10: the \w+ split has \d rows and \d of label 1; .*give more rows"):
        load(store, card, 10)


@pytest.fixture
def copy(made, tmp_path):
    store, card, _ = made
    target = tmp_path / "data" / "mine"
    target.mkdir(parents=True)
    for path in store.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target, card


REMAKE = r"Make (it|the store) anew: python -m bench prepare mine --raw t.csv --data-dir .*data"


@pytest.mark.parametrize("name", ["ids.npy", "labels.npy", "split.npy", "numeric.npy", "vocabulary.parquet"])
def test_a_damaged_or_missing_file_is_refused(copy, name):
    folder, card = copy
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: the checksum is \w+…, the manifest says .*{REMAKE}"):
        load(folder, card)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: cannot be read .No such file.*{REMAKE}"):
        load(folder, card)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}'])
def test_a_damaged_manifest_is_refused(copy, text):
    folder, card = copy
    (folder / "manifest.json").write_text(text)
    with pytest.raises(
        DataError, match=r"manifest.json: .*Make the store anew: python -m bench prepare mine --raw PATH"
    ):
        load(folder, card)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 0, "store format 0, wanted 2"),
        ("format", 1, "store format 1, wanted 2"),
        ("revision", 7, "the store is of another revision: 7, the card is 1"),
        ("definition", "0", "the card was changed since the store was made"),
        ("name", "yours", "is the store of 'yours', not of 'mine'"),
        ("params", {"min_count": 3, "split_seed": 0, "numeric_buckets": "apart"}, "made with min_count=3, not 2"),
    ],
)
def test_a_store_of_something_else_is_refused_with_the_command_that_remakes_it(copy, key, value, message):
    folder, card = copy
    manifest = manifest_of(folder) | {key: value}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=rf"{message}.*python -m bench prepare mine --raw"):
        load(folder, card)


def test_other_files_and_other_readings_of_them_are_other_data(tmp_path):
    text = "y,c,d\n" + "".join(f"{i % 3 % 2},{i % 7},{i % 5}\n" for i in range(300))
    cards = {
        "first": CARD.replace('n = "integer"\nx = "numeric"\n', ""),
        "fewer": CARD.replace('n = "integer"\nx = "numeric"\n', "").replace('d = "categorical"', 'd = "ignore"'),
        "rarer": CARD.replace('n = "integer"\nx = "numeric"\n', "").replace("min_count = 2", "min_count = 1"),
    }
    found = {}
    for number, (name, rows) in enumerate(
        [
            ("first", text),
            ("first", text),
            ("first", text.replace("\n0,", "\n2,").replace("\n1,", "\n0,").replace("\n2,", "\n1,")),
            ("fewer", text),
            ("rarer", text),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "t.csv").write_text(rows)
        card = write_card(folder, cards[name])
        store = prepare(card, folder / "t.csv", folder / "data" / "mine")
        found[number] = load(store, card).revision
    assert found[0] == found[1]
    assert len({found[0], found[2], found[3], found[4]}) == 4
    assert all(re.fullmatch("1-[0-9a-f]{8}", revision) for revision in found.values())


def test_generated_data_are_told_apart_by_the_revision_of_their_card(tmp_path):
    card = resolve_dataset("planted[rows=400,fields=8,main=4,interaction=2,redundant=1]")
    assert load(prepare(card, None, tmp_path / "data"), card).revision == str(card.revision)


def test_what_to_do_where_nothing_is_prepared(tmp_path):
    data = tmp_path / "data"
    for spec, wanted in [
        ("criteo", r"accept.*\n.*archive.*\n.*\nThen: python -m bench prepare criteo --raw PATH --data-dir "),
        ("avazu[min_count=4]", r"train.gz.*\nThen: python -m bench prepare 'avazu.min_count=4.' --raw PATH"),
        ("movielens-1m", r"Fetch and prepare it: python -m bench prepare movielens-1m --download.*\nOr, from a file"),
        ("planted", r"Make it: python -m bench prepare planted --data-dir"),
    ]:
        card = resolve_dataset(spec)
        folder = store_folder(data, card)
        with pytest.raises(DataError, match=rf"(?s)data set '{re.escape(spec)}' is not prepared.*{wanted}"):
            load(folder, card)
    assert not data.exists()


@pytest.mark.parametrize("split", ["random", "temporal"])
def test_facts_are_those_of_the_loaded_rows_and_no_id_is_read_for_an_identity(tmp_path_factory, split):
    folder = tmp_path_factory.mktemp(split)
    text = CARD + 't = { kind = "time", format = "unix" }\n[time]\ncolumn = "t"\n'

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(
        n=st.integers(60, 400),
        share=st.floats(0, 1.3),
        min_count=st.integers(1, 12),
        rare=st.floats(0.01, 0.5),
        seed=st.integers(0, 9),
    )
    def same(n, share, min_count, rare, seed):
        rng = random.Random(seed)
        lines = ["y,c,n,x,d,t"]
        for row in range(n):
            value = "" if rng.random() < 0.1 else rng.choice("abcdefgh")
            number, rest = int(rng.expovariate(0.1)), int(rng.expovariate(rare))
            lines.append(f"{row % 2},{value},{number},{rng.random():.4f},{rest:03d},{row}")
        (folder / "t.csv").write_text("\n".join(lines))
        card = write_card(folder, text.replace("min_count = 2", f"min_count = {min_count}"), split=split)
        store, rows = folder / "data", max(10, round(share * n))
        shutil.rmtree(store, ignore_errors=True)
        prepare(card, folder / "t.csv", store)
        try:
            data = load(store, card, rows)
        except DataError as error:
            with pytest.raises(DataError, match=re.escape(str(error))):
                read_facts(store, card, rows)
            return
        facts = read_facts(store, card, rows)
        assert facts.schema == data.schema == data.train.schema
        for item in fields(StoreFacts):
            if item.name != "find_schema":
                assert getattr(facts, item.name) == getattr(data, item.name), item.name
        parts = {"train": data.train, "valid": data.valid, "test": data.test}
        assert facts.split_rows == {name: len(part) for name, part in parts.items()}
        assert facts.positives == {name: int(part.labels.sum()) for name, part in parts.items()}
        for name in ("ids.npy", "numeric.npy"):
            (store / name).unlink()
        assert read_facts(store, card, rows) == facts

    same()


def test_ids_that_must_be_counted_are_checked_first(copy):
    folder, card = copy
    content = bytearray((folder / "ids.npy").read_bytes())
    content[-1] ^= 1
    (folder / "ids.npy").write_bytes(content)
    assert read_facts(folder, card).schema.n_fields == 4
    part = read_facts(folder, card, 300)
    assert sum(part.split_rows.values()) == 300
    with pytest.raises(DataError, match=r"ids\.npy: the checksum is"):
        part.schema.n_fields  # noqa: B018


@pytest.mark.parametrize("rows", [None, 300])
def test_facts_hold_on_to_no_array(made, monkeypatch, rows):
    stores = []
    taken = Store.facts

    def facts(store, find_schema):
        stores.append(weakref.ref(store))
        return taken(store, find_schema)

    monkeypatch.setattr(Store, "facts", facts)
    found = read_facts(made[0], made[1], rows)
    assert found.schema.n_fields == 4
    gc.collect()
    assert [store() for store in stores] == [None]
