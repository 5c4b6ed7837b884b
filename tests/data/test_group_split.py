"""``[split] group``: all rows of one value lie in one split."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data.card.card import DatasetCard, load_card
from bench.data.prepare.prepare import Settings, prepare
from bench.data.store.group_split import split_of_values
from bench.data.store.manifest import read_manifest
from bench.data.store.store import Store
from bench.errors import ConfigError, DataError

CARD = """name = "visits"
[raw]
files = ["t.csv", "t.parquet"]
[raw.columns]
y = "label"
city = "categorical"
user = "ignore"
[split]
group = "user"
"""
ROWS, USERS = 4000, 400
RNG = np.random.default_rng(3)
USER = [f"u{u}" if u >= USERS // 10 else "" for u in RNG.integers(0, USERS, ROWS)]  # a tenth is not known
LABEL, CITY = RNG.integers(0, 2, ROWS), RNG.integers(0, 5, ROWS)


def card(folder: Path, text: str = CARD) -> DatasetCard:
    (folder / "card.toml").write_text(text)
    return load_card(folder / "card.toml")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("raw") / "t.csv"
    lines = [f"{y},c{c},{u}" for y, c, u in zip(LABEL, CITY, USER, strict=True)]
    file.write_text("\n".join(["y,city,user", *lines]) + "\n")
    return file


@pytest.fixture(scope="module")
def store(table: Path) -> Path:
    return prepare(card(table.parent), table, table.parent / "store")


def splits(folder: Path) -> np.ndarray:
    found: np.ndarray = np.load(folder / "split.npy")
    return found


def test_a_value_s_split_is_where_its_hash_lies_among_the_shares() -> None:
    values = [f"v{i}" for i in range(300)]
    hashes = [hashlib.blake2b(v.encode(), digest_size=8, key=(7).to_bytes(8, "little")).digest() for v in values]
    shares = [int.from_bytes(one, "little") / 2**64 for one in hashes]
    wanted = [0 if u < 0.8 else 1 if u < 0.9 else 2 for u in shares]
    assert split_of_values(values, 7, (0.8, 0.1, 0.1)).tolist() == wanted
    assert split_of_values([], 7, (0.8, 0.1, 0.1)).tolist() == []


def test_no_group_is_in_two_splits_and_shares_hold_roughly(store: Path) -> None:
    where = defaultdict(set)
    for user, split in zip(USER, splits(store).tolist(), strict=True):
        where[user].add(split)
    known = [found for user, found in where.items() if user]
    assert {len(found) for found in known} == {1}
    assert where[""] == {0, 1, 2}, "rows of nobody known do not belong together"
    for rows in (np.ones(ROWS, bool), np.array([not user for user in USER])):
        shares = np.bincount(splits(store)[rows]) / rows.sum()
        # three deviations of 360 draws of 0.8, and of the 400 rows that are drawn one by one
        assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 3 * (0.16 / 360) ** 0.5
    (note,) = read_manifest(store, "")["notes"]
    alone = USER.count("")
    assert note.startswith("all rows of one user are in one split: train ") and f"{alone:,} rows without one" in note


def test_the_ignored_column_makes_no_field(store: Path) -> None:
    assert [one["name"] for one in read_manifest(store, "")["fields"]] == ["city"]


def test_chunks_threads_and_formats_do_not_matter(table: Path, store: Path, tmp_path: Path) -> None:
    cut = prepare(card(tmp_path), table, tmp_path / "cut", settings=Settings(chunk_bytes=2000, threads=3))
    assert np.array_equal(splits(cut), splits(store))
    columns = {"y": LABEL, "city": CITY, "user": pa.array([user or None for user in USER])}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert np.array_equal(splits(prepare(card(tmp_path), tmp_path, tmp_path / "other")), splits(store))


def test_a_field_may_be_the_group_and_another_seed_gives_another_split(
    table: Path, store: Path, tmp_path: Path
) -> None:
    text = CARD.replace('user = "ignore"', 'user = "categorical"')
    same = prepare(card(tmp_path, text), table, tmp_path / "same")
    assert np.array_equal(splits(same), splits(store))
    assert [one["name"] for one in read_manifest(same, "")["fields"]] == ["city", "user"]
    other = prepare(card(tmp_path, f"split_seed = 1\n{CARD}"), table, tmp_path / "other")
    assert not np.array_equal(splits(other), splits(store))


def test_whole_numbers_are_the_same_groups_however_they_are_written(tmp_path: Path) -> None:
    rows = [f"{i % 2},c,{'0' * (i % 3)}{i % 150}" for i in range(1500)]
    (tmp_path / "t.csv").write_text("\n".join(["y,city,user", *rows]) + "\n")
    text = CARD.replace('user = "ignore"', 'user = "integer"')
    found = splits(prepare(card(tmp_path, text), tmp_path, tmp_path / "store"))
    assert np.array_equal(found, np.tile(found[:150], 10))
    assert len(set(found.tolist())) == 3


def test_fewer_rows_keep_their_split_and_those_of_nobody_do_too(table: Path, store: Path) -> None:
    part = Store(store, card(table.parent), 1000)
    assert np.array_equal(part.splits, splits(store)[part.rows()])
    nobody = np.array([not USER[row] for row in part.rows()])
    assert set(part.splits[nobody].tolist()) == {0, 1, 2}


def test_a_card_without_it_is_another_definition_and_the_same_as_ever(table: Path, store: Path, tmp_path: Path) -> None:
    plain = card(tmp_path, CARD.replace('[split]\ngroup = "user"\n', ""))
    (layout,) = plain.layouts
    before = {"layouts": [layout.described], "generator": "", "shares": plain.shares}
    assert plain.definition == hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()
    assert layout.described["columns"][2] == {
        **{"name": "user", "role": "ignore", "field": "user", "time_format": ""},
        "parts": (),
    }
    with pytest.raises(DataError, match="the card was changed since the store was made"):
        Store(store, plain)


def test_two_users_are_too_few(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["y,city,user", *(f"{i % 2},c,u{i % 4 // 2}" for i in range(99))]))
    with pytest.raises(DataError, match="all rows of one user are in one split: give more of them, another split_seed"):
        prepare(card(tmp_path), tmp_path, tmp_path / "store")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('group = "user"', 'group = "usr"'), "[split]: group = 'usr' is no column under [raw.columns]. Did you mean"),
        (('user = "ignore"', 'user = "numeric"'), "group = 'user' is of the kind numeric, whose values tell no groups"),
        (('group = "user"', 'group = "y"'), "group = 'y' is of the kind label"),
        (
            ('user = "ignore"', 'user = { kind = "categorical", separator = "|", multi = "first" }'),
            "is of the kind categorical with multi = 'first'",
        ),
        (
            ('group = "user"', 'group = "user"\ntest = { files = ["e.csv"] }'),
            "[split] group = 'user': the test files say themselves which rows are for testing",
        ),
    ],
)
def test_a_group_that_cannot_be_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        card(tmp_path, CARD.replace(*change))
    assert message in str(caught.value)


def test_neither_splits_by_time_nor_generated_rows_have_groups(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(f'{CARD}[time]\norder = "file"\n')
    with pytest.raises(ConfigError, match="split=temporal cuts between times, so that rows of one group"):
        load_card(tmp_path / "card.toml", {"split": "temporal"})
    text = 'name = "mine"\ngenerator = "bench.datasets.planted:generate"\n[split]\ngroup = "f00"\n'
    with pytest.raises(ConfigError, match="generated rows have no columns but their fields, and no groups"):
        card(tmp_path, text)


def test_an_ignored_index_of_a_sparse_file_may_be_the_group(tmp_path: Path) -> None:
    users = [f"{100 + i % 97}" for i in range(970)]
    rows = [f"{i % 2} {1 + i % 5}:1" + (f" {user}:1" if i % 10 else "") for i, user in enumerate(users)]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    head, _ = CARD.split("city =")
    sparse = f'{head}"1-9" = "categorical"\n"100-999" = "ignore"\n[split]\ngroup = "100-999"\n'.replace(
        "[raw]\n", '[raw]\nformat = "libsvm"\n'
    )
    found = splits(prepare(card(tmp_path, sparse), tmp_path, tmp_path / "store"))
    where = defaultdict(set)
    for i, (user, split) in enumerate(zip(users, found.tolist(), strict=True)):
        where[user if i % 10 else ""].add(split)
    assert where.pop("") == {0, 1, 2}
    assert {len(one) for one in where.values()} == {1}
    assert len(set().union(*where.values())) == 3
