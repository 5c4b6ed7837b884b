"""The generator at scale: its rows do not depend on how they are made, and have the shape that its docs promise."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from bench.data.prepare.prepare import prepare
from bench.data.prepare.raw_text import write_raw
from bench.data.raw.generated import NO_VALUE, GeneratedData
from bench.data.store.splits import row_hash
from bench.datasets import resolve_dataset
from bench.datasets.criteo_like import generate
from bench.datasets.draws import Draws, TorchDraws
from bench.rows.load import load
from bench.stats.recovery import auc_of, recovery

ROWS = 100_000
MISSING = {"I1": 0.45, "I2": 0, "I12": 0.765, "C1": 0, "C3": 0.034, "C6": 0.12, "C22": 0.76, "C26": 0.44}
CARDINALITIES = {"C1": 1460, "C5": 305, "C9": 3, "C13": 3194, "C14": 27, "C17": 10, "C20": 4, "C23": 15}


def make(rows=3000, seed=0, block_rows=1 << 17, device="cpu"):
    data = generate({"rows": rows, "seed": seed}, block_rows, device)
    blocks = list(data.blocks)
    columns = {name: np.concatenate([block.columns[name] for block in blocks]) for name in data.fields}
    labels = np.concatenate([block.labels for block in blocks])
    return data, columns, labels, np.concatenate([block.truth for block in blocks])


@pytest.fixture(scope="module")
def many() -> tuple[GeneratedData, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    return make(ROWS)


def same(one, other, rows=None):
    return all(np.array_equal(one[1][name][:rows], other[1][name][:rows]) for name in one[1]) and all(
        np.array_equal(a[:rows], b[:rows]) for a, b in zip(one[2:], other[2:], strict=True)
    )


def test_rows_depend_on_the_seed_alone():
    whole = make()
    assert same(whole, make(block_rows=701)) and same(whole, make(rows=5000), 3000)
    other = make(seed=1)
    assert not np.array_equal(whole[2], other[2]) and not np.array_equal(whole[1]["C3"], other[1]["C3"])
    assert whole[0].roles == other[0].roles


@pytest.mark.parametrize("device", ["torch's cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_rows_do_not_depend_on_where_they_are_made(monkeypatch, device):
    if device != "cuda":
        device = "auto"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert same(make(20_000, 7), make(20_000, 7, block_rows=9001, device=device))


@pytest.mark.parametrize("seed", [0, 5, 2**63, 2**64 - 1])
def test_draws_on_a_device_have_the_bits_of_those_with_numpy(seed):
    numpy, device = Draws(), TorchDraws(torch.device("cpu"))
    rows = [numpy.rows(2**40, 2**40 + 5000), device.rows(2**40, 2**40 + 5000)]
    hashes = [draws.hashes(seed, some) for draws, some in zip((numpy, device), rows, strict=True)]
    assert (hashes[0].view(np.uint64) == row_hash(seed, rows[0])).all()
    low = [one & 0xFFFFFFFF for one in hashes]
    codes = [draws.scrambled(one, seed & 0xFFFFFFFF) for draws, one in zip((numpy, device), low, strict=True)]
    assert len(np.unique(codes[0])) == len(np.unique(low[0])) and codes[0].min() >= 0 and codes[0].max() < 2**32
    for pair in (hashes, codes, [numpy.byte(codes[0]).astype(np.int64), device.byte(codes[1])]):
        np.testing.assert_array_equal(pair[0], device.get(pair[1]))


def test_the_rows_of_a_revision_stay_what_they_are():
    """A change of the rows asks for a new revision of the card, and then for a new digest here."""
    data, columns, labels, _ = make(1000)
    digest = hashlib.sha256(json.dumps(data.roles).encode())
    for name in data.fields:
        digest.update(columns[name].astype("<i8").tobytes())
    digest.update(labels.tobytes())
    assert digest.hexdigest()[:16] == "40f505e0b37c28bc"


def test_fields_and_their_missing_rates(many):
    data, columns, *_ = many
    assert data.fields == (*(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27)))
    assert data.n_rows == ROWS
    for name, rate in MISSING.items():
        found = float((columns[name] == NO_VALUE).mean())
        assert abs(found - rate) < 5 * np.sqrt(rate * (1 - rate) / ROWS) + 1e-4, name
    for group in (("I1", "I10"), ("I7", "I9", "I11"), ("C3", "C12", "C24"), ("C19", "C25", "C26")):
        first, *others = (columns[name] == NO_VALUE for name in group)
        assert all(np.array_equal(first, other) for other in others), group


def test_integers_have_heavy_tails_and_codes_follow_zipf(many):
    data, columns, *_ = many
    for name in data.fields[:13]:
        values = columns[name][columns[name] != NO_VALUE]
        assert values.min() == (-2 if name == "I2" else 0)
        if name != "I10":
            assert np.quantile(values, 0.99) > 5 * max(1, np.quantile(values, 0.75)), name
    for name in data.fields[13:]:
        values, counts = np.unique(columns[name][columns[name] != NO_VALUE], return_counts=True)
        assert values.min() >= 0 and values.max() < 2**32
        assert len(values) <= CARDINALITIES.get(name, ROWS), name
        assert counts.max() > 1.3 * counts.mean(), name
        assert len(values) == CARDINALITIES.get(name) or CARDINALITIES.get(name, ROWS) > 100, name
    assert len(np.unique(columns["C3"])) > 35_000, "most values of the largest fields are rare"
    order = np.argsort(columns["C11"][:10_000])
    assert abs(np.corrcoef(np.arange(10_000), many[3][:10_000][order])[0, 1]) < 0.05, "the order of codes says nothing"


def test_labels_are_drawn_from_the_truth(many):
    data, columns, labels, truth = many
    assert abs(labels.mean() - 0.256) < 0.006 and abs(float(labels.mean()) - float(truth.mean())) < 0.006
    assert 0.78 < auc_of(truth, labels) < 0.82
    metrics = recovery(data.fields, data.roles, list(range(39)))
    assert metrics["recall_at_n_keep"] == 1
    main = [name for name, role in data.roles.items() if role == "main"]
    pairs = [name for name, role in data.roles.items() if role.startswith("interaction:")]
    assert len(main) == 12 and len(pairs) == 4
    for name in [*main, *pairs, "I9", "C13"]:
        worth = spread(columns[name], truth)
        assert (worth > 0.02) == (name in main), (name, worth)


def spread(values: np.ndarray, truth: np.ndarray) -> float:
    """Standard deviation of the mean truth over the values of a field, what chance explains taken away."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.bincount(places, truth) / counts
    common = counts >= 50
    weights = counts[common] / counts[common].sum()
    centre = weights @ means[common]
    noise = weights @ (truth.var() / counts[common])
    return float(np.sqrt(max(0.0, weights @ (means[common] - centre) ** 2 - noise)))


def test_a_copy_agrees_with_its_source_but_for_the_noise(many):
    _, columns, *_ = many
    common = np.unique(columns["C7"], return_inverse=True, return_counts=True)
    pairs = np.unique(np.stack([columns["C7"], columns["C15"]]), axis=1).shape[1]
    assert pairs < 2 * ROWS * 0.15 + len(common[0])


def test_a_store_made_at_once_is_that_of_the_raw_text(tmp_path):
    card = resolve_dataset("criteo-like[rows=4000]")
    with ThreadPoolExecutor(2) as pool:
        write_raw(card, tmp_path / "train.txt", pool, lambda *_: None)
    ours = prepare(card, None, tmp_path / "ours")
    theirs = prepare(resolve_dataset("criteo"), tmp_path / "train.txt", tmp_path / "theirs")
    for name in ("ids.npy", "labels.npy", "split.npy", "vocabulary.parquet"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    opened = load(ours, card)
    assert opened.test_truth is not None and opened.roles == generate({"rows": 1000, "seed": 0}).roles
    assert [field.kind for field in opened.schema.fields[12:14]] == ["integer", "categorical"]
