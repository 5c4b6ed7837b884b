"""Junk beside the fields of a real table: what it is made of, what it leaves as it was, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.data.prepare.prepare import prepare
from bench.data.prepare.ready import make_ready
from bench.data.store.manifest import schema_of
from bench.data.store.store import Store, store_folder
from bench.datasets import resolve_dataset
from bench.errors import DataError
from bench.rows.load import load
from bench.stats.recovery import junk_share

KINDS = ("random", "corrupted", "twins")
CARD = """
name = "clicks"
[raw]
files = ["clicks.csv"]
[raw.columns]
y = "label"
few = "categorical"
many = "categorical"
count = "integer"
price = "numeric"
"""
N = 4000


def make_table(folder: Path) -> str:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N)
    few, many = np.where(rng.random(N) < 0.8, y, rng.integers(0, 4, N)), rng.integers(0, 30, N)
    rows = zip(y, few, many, rng.integers(0, 50, N), rng.random(N).round(3), strict=True)
    (folder / "clicks.csv").write_text("y,few,many,count,price\n" + "".join(f"{','.join(map(str, r))}\n" for r in rows))
    (folder / "clicks.toml").write_text(CARD)
    return str(folder / "clicks.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("junk")
    card = resolve_dataset(make_table(folder))
    prepare(card, folder / "clicks.csv", store_folder(folder, card))
    make_ready([resolve_dataset(f"{folder}/clicks.toml[junk={kind}]") for kind in KINDS], folder, lambda _: None)
    return folder


def opened(folder: Path, params: str = "") -> tuple[Store, np.ndarray, dict[str, np.ndarray]]:
    """A store, its splits, and the ids of its fields by name, which begin at 0 in every field."""
    card = resolve_dataset(f"{folder}/clicks.toml{params}")
    store = Store(store_folder(folder, card), card)
    store.verify()
    schema = schema_of(store.manifest)
    ids = np.load(store.folder / "ids.npy") - schema.offsets[:-1]
    return store, store.splits, dict(zip(schema.names, ids.T, strict=True))


def counts(column: np.ndarray) -> list[int]:
    return sorted(np.unique(column, return_counts=True)[1].tolist())


def sources(store: Store) -> dict[str, str]:
    """What each junk field is a copy of."""
    return {name: role.partition(":")[2] for name, role in store.manifest["roles"].items() if ":" in role}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_labels_splits_and_the_fields_themselves_are_those_of_the_plain_table(folder, kind):
    plain, splits, columns = opened(folder)
    store, same, more = opened(folder, f"[junk={kind}]")
    assert list(more) == [*columns, "junk01", "junk02", "junk03", "junk04"]
    np.testing.assert_array_equal(same, splits)
    np.testing.assert_array_equal(store.labels, plain.labels)
    for name, column in columns.items():
        np.testing.assert_array_equal(more[name], column)
    found, without = (load(one.folder, one._card) for one in (store, plain))
    assert found.revision != without.revision
    np.testing.assert_array_equal(found.test.index, without.test.index)
    assert found.train.numeric.equal(without.train.numeric)


def test_random_junk_has_the_values_of_a_field_in_every_split_and_says_nothing_of_it_or_of_the_label(folder):
    store, splits, columns = opened(folder, "[junk=random]")
    junk = [columns[name] for name in columns if name.startswith("junk")]
    fields = [columns[name] for name in ("few", "many", "count")]
    for split in range(3):
        found = [counts(one[splits == split]) for one in junk]
        wanted = [counts(one[splits == split]) for one in fields]
        assert all(one in found for one in wanted) and all(one in wanted for one in found)
    for one in junk:
        for other in (store.labels, columns["few"]):
            table = np.zeros((one.max() + 1, other.max() + 1))
            np.add.at(table, (one, other), 1)
            table = table[table.sum(1) > 0][:, table.sum(0) > 0]
            expected = np.outer(table.sum(1), table.sum(0)) / N
            freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
            chi2 = ((table - expected) ** 2 / expected).sum()
            assert abs(chi2 - freedom) / np.sqrt(2 * freedom) < 5
    assert set(store.manifest["roles"].values()) == {"real", "random"}


def test_half_of_the_rows_of_a_corrupted_copy_are_shuffled_and_none_of_a_twin(folder):
    for kind, moved in (("corrupted", 0.5), ("twins", 0.0)):
        store, splits, columns = opened(folder, f"[junk={kind}]")
        assert sorted(set(sources(store).values())) == ["count", "few", "many"], "not the numeric one"
        for name, source in sources(store).items():
            copy, original = columns[name], columns[source]
            agree = sum(np.bincount(original[copy == code]).max() for code in np.unique(copy)) / N
            alike = ((np.bincount(original) / N) ** 2).sum()
            assert agree == pytest.approx(1 - moved * (1 - alike), abs=0.04 if moved else 0)
            assert counts(copy[splits == 0]) == counts(original[splits == 0])
            same = copy == original
            assert not same.all(), "codes of its own"


def test_of_a_field_and_its_twins_all_but_one_are_waste():
    names = ("a", "b", "t1", "t2", "r", "c")
    roles = dict(zip(names, ("real", "real", "twin:a", "twin:a", "random", "corrupted:b"), strict=True))
    shares = {(0, 1): 0, (1, 2): 0, (0, 2): 1 / 2, (0, 2, 3): 2 / 3, (2, 3): 1 / 2, (4,): 1, (1, 4, 5): 2 / 3}
    assert {kept: junk_share(names, roles, kept) for kept in shares} == pytest.approx(shares)


@pytest.mark.parametrize(("share", "n_junk"), [(0.2, 1), (0.5, 4), (0.75, 12)])
def test_junk_has_its_share_of_all_fields(folder, share, n_junk):
    card = resolve_dataset(f"{folder}/clicks.toml[junk=random,share={share}]")
    make_ready([card], folder, lambda _: None)
    _, _, columns = opened(folder, f"[junk=random,share={share}]")
    assert sum(name.startswith("junk") for name in columns) == n_junk == round(share * len(columns))


def test_junk_is_made_anew_when_the_plain_store_was(tmp_path):
    typed = make_table(tmp_path)
    card, junk = resolve_dataset(typed), resolve_dataset(f"{typed}[junk=twins]")
    with pytest.raises(DataError, match="'clicks' is not prepared"):
        make_ready([junk], tmp_path, lambda _: None)
    for some in (N, 3000):
        lines = (tmp_path / "clicks.csv").read_text().splitlines(keepends=True)
        (tmp_path / "clicks.csv").write_text("".join(lines[: some + 1]))
        prepare(card, tmp_path / "clicks.csv", store_folder(tmp_path, card))
        make_ready([junk], tmp_path, lambda _: None)
        assert len(np.load(store_folder(tmp_path, junk) / "labels.npy")) == some


RUN = ("--methods", "cardinality", "--backbones", "logistic", "--seeds", "1", "--epochs", "1", "--set", "l2=1e-5")


def test_a_run_shows_junk_beside_auc_and_its_model_is_not_exported(bench):
    card = make_table(Path())
    assert bench("prepare", card, "--raw", "clicks.csv").code == 0
    done = bench("run", "--datasets", f"{card}[junk=random]", *RUN, "--out", "r")
    assert (done.code, "Junk among kept" in done.out) == (0, True), done.err
    (cell,) = Path("r/cells").glob("*.json")
    record = json.loads(cell.read_text())
    kept = [record["field_names"][i] for i in record["kept_fields"]]
    assert record["recovery"] == {"junk_share": sum(name.startswith("junk") for name in kept) / len(kept)}
    refused = bench("export", "r", "clicks[junk=random]", "cardinality", "--to", "model")
    assert (refused.code, "no row to score has" in refused.err) == (2, True), refused.err


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("junk=second-order", "junk=second-order is not allowed; choose one of none, random, corrupted, twins"),
        ("junk=random,share=0", "share=0 is out of range"),
        ("junk=random,share=1", "share=1 is out of range"),
        ("share=0.3", "share=0.3 is of junk; name its kind"),
    ],
)
def test_what_is_no_junk_is_refused(bench, params, message):
    card = make_table(Path())
    refused = bench("prepare", f"{card}[{params}]")
    assert (refused.code, message in refused.err) == (2, True), refused.err


def test_raw_data_are_for_the_plain_table(bench):
    card = make_table(Path())
    refused = bench("prepare", f"{card}[junk=random]", "--raw", "clicks.csv")
    assert (refused.code, "is made from the store of 'clicks'" in refused.err) == (2, True)
