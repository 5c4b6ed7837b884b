"""The planted data hold what their roles promise."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import planted
from bench.datasets.planted import COPY_NOISE, NO_JUNK, PlantedParams, generate
from bench.errors import ConfigError
from bench.stats.recovery import JUNK, auc_of

ROWS = 60_000


@dataclass(frozen=True)
class Made:
    roles: dict[str, str]
    columns: dict[str, np.ndarray]
    labels: np.ndarray
    truth: np.ndarray

    def named(self, kind: str) -> list[str]:
        return [name for name, role in self.roles.items() if role.partition(":")[0] == kind]

    def other(self, name: str) -> str:
        return self.roles[name].partition(":")[2]


def make(block_rows: int = planted.BLOCK_ROWS, **params: object) -> Made:
    data = generate(params, block_rows)
    blocks = list(data.blocks)
    columns = {name: np.concatenate([block.columns[name] for block in blocks]) for name in data.fields}
    labels = np.concatenate([block.labels for block in blocks])
    return Made(data.roles, columns, labels, np.concatenate([block.truth for block in blocks]))


@cache
def large() -> Made:
    return make(rows=ROWS, interaction=4, fields=26)


def chi2_z(column: np.ndarray, labels: np.ndarray, min_count: int = 20) -> float:
    """Standardised chi-square of value × label: mean 0 and standard deviation 1 if the field says nothing.

    The number of degrees of freedom is taken off, so that cardinality alone does not raise it. Values with
    few rows, for which the approximation fails, count as one; NaN if that leaves a single value.
    """
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    clicks = np.bincount(inverse, weights=labels)
    rare = counts < min_count
    n, k = (np.append(x[~rare], x[rare].sum()) for x in (counts, clicks))
    n, k = n[n > 0], k[n > 0]
    if len(n) == 1:
        return math.nan
    rate = k.sum() / n.sum()
    df = len(n) - 1
    statistic = float((((k - n * rate) ** 2) / (n * rate * (1 - rate))).sum())
    return (statistic - df) / math.sqrt(2 * df)


def same(a: Made, b: Made) -> bool:
    return (
        a.roles == b.roles
        and all(np.array_equal(a.columns[name], b.columns[name]) for name in a.columns)
        and np.array_equal(a.labels, b.labels)
        and np.array_equal(a.truth, b.truth)
    )


def test_the_same_parameters_give_the_same_rows_whatever_the_block() -> None:
    whole = make(rows=3000)
    assert same(whole, make(rows=3000))
    assert same(whole, make(block_rows=700, rows=3000))
    assert same(make(rows=150), make(block_rows=1, rows=150))
    other = make(rows=3000, seed=1)
    assert whole.roles != other.roles
    assert not np.array_equal(whole.labels, other.labels)


def test_a_longer_data_set_begins_with_the_shorter_one_noise_of_high_cardinality_apart() -> None:
    short, long = make(rows=2000), make(rows=5000)
    assert short.roles == long.roles
    for name in short.columns:
        if short.roles[name] != "noise-high":
            np.testing.assert_array_equal(short.columns[name], long.columns[name][:2000])
    np.testing.assert_array_equal(short.truth, long.truth[:2000])
    np.testing.assert_array_equal(short.labels, long.labels[:2000])


def test_the_rows_of_a_revision_stay_what_they_are() -> None:
    """A change of the rows asks for a new revision of the card, and then for a new digest here."""
    made = make(rows=1000)
    digest = hashlib.sha256()
    for name, column in made.columns.items():
        digest.update(f"{name} {made.roles[name]} ".encode() + column.astype("<i8").tobytes())
    digest.update(made.labels.tobytes())
    assert digest.hexdigest()[:16] == "1938e0ca9917b92b"


def test_types_and_names() -> None:
    made = make(rows=500)
    assert list(made.columns) == [f"f{i:02d}" for i in range(24)]
    assert {column.dtype for column in made.columns.values()} == {np.dtype(np.int64)}
    assert min(int(column.min()) for column in made.columns.values()) == -1, "some fields have missing values"
    assert [made.labels.dtype, made.truth.dtype] == [np.dtype(np.uint8), np.dtype(np.float32)]


def test_the_roles_are_as_many_as_asked_for_and_refer_to_each_other() -> None:
    made = make(rows=200, fields=39, main=12, interaction=6, redundant=5)
    counts = {kind: len(made.named(kind)) for kind in ("main", "interaction", "redundant", "constant")}
    assert counts == {"main": 12, "interaction": 6, "redundant": 5, "constant": 1}
    # 39 - 23 = 16 are noise: one constant, and the odd one of the other 15 is of low cardinality
    assert (len(made.named("noise-low")), len(made.named("noise-high"))) == (8, 7)
    assert all(made.other(made.other(name)) == name for name in made.named("interaction"))
    sources = [made.other(name) for name in made.named("redundant")]
    assert len(set(sources)) == 5
    assert set(sources) <= set(made.named("main"))


def test_the_defaults_plant_traps_of_cardinality() -> None:
    made = large()
    size = {name: len(np.unique(column)) for name, column in made.columns.items()}
    main = sorted(size[name] for name in made.named("main"))
    assert main[0] <= 4
    assert main[-1] >= 1000
    assert all(size[name] == 1 for name in made.named("constant"))
    assert all(size[name] <= 70 for name in made.named("noise-low"))
    unique = [name for name in made.named("noise-high") if size[name] > 0.8 * ROWS]
    assert len(unique) >= 2, "near-unique identifiers"
    assert min(size[name] for name in made.named("noise-high")) > max(main) * 0.9


def test_label_rate_is_near_a_quarter_and_labels_follow_the_truth() -> None:
    made = large()
    # standard error of the mean over 60,000 rows: 0.0018 for labels, less for probabilities
    assert made.labels.mean() == pytest.approx(0.25, abs=0.006)
    assert made.truth.mean() == pytest.approx(0.25, abs=0.004)
    order = np.argsort(made.truth)
    for part in np.array_split(order, 10):
        spread = math.sqrt(float((made.truth[part] * (1 - made.truth[part])).sum())) / len(part)
        assert abs(made.labels[part].mean() - made.truth[part].mean()) < 4.5 * spread


def test_the_attainable_auc_is_near_0_80_for_several_seeds_and_sizes() -> None:
    settings: list[dict[str, int]] = [{}, {"seed": 1}, {"fields": 39}, {"interaction": 6}, {"main": 3}]
    for setting in settings:
        made = make(rows=ROWS, **setting)
        assert 0.78 < auc_of(made.truth, made.labels) < 0.82, setting


def test_main_fields_and_copies_show_by_themselves_and_all_others_do_not() -> None:
    made = large()
    z = {name: chi2_z(column, made.labels) for name, column in made.columns.items()}
    assert min(z[name] for kind in ("main", "redundant") for name in made.named(kind)) > 10
    silent = [name for kind in ("interaction", "noise-low", "noise-high") for name in made.named(kind)]
    silent = [name for name in silent if not math.isnan(z[name])]
    assert len(silent) >= 10
    assert max(abs(z[name]) for name in silent) < 4
    assert np.mean([z[name] for name in silent]) == pytest.approx(0, abs=3 / math.sqrt(len(silent)))


def test_the_marginal_of_an_interaction_field_is_zero_by_construction() -> None:
    """Known probabilities have less noise than labels, and the sampling error of each mean is known."""
    made = large()
    for name in made.named("interaction"):
        for value in np.unique(made.columns[name]):
            of_value = made.truth[made.columns[name] == value]
            if len(of_value) >= 100:
                error = float(of_value.std()) / math.sqrt(len(of_value))
                assert abs(of_value.mean() - made.truth.mean()) < 4.5 * error


def test_a_pair_together_predicts_the_label() -> None:
    made = large()
    for name in made.named("interaction"):
        joint = made.columns[name] * 10_000 + made.columns[made.other(name)]
        assert chi2_z(joint, made.labels) > 10


def test_values_of_a_pair_come_in_twins_of_equal_probability() -> None:
    made = large()
    for name in made.named("interaction"):
        counts = np.sort(np.unique(made.columns[name], return_counts=True)[1])[::-1]
        first, second = counts[0::2], counts[1::2]
        assert len(counts) % 2 == 0
        # sorting the twins widens the difference of two binomials; 4.5 standard errors still hold
        assert (np.abs(first - second) < 4.5 * np.sqrt(first + second) + 1).all()


def test_copies_agree_with_their_source_under_other_codes() -> None:
    made = large()
    for name in made.named("redundant"):
        copy, source = made.columns[name], made.columns[made.other(name)]
        meant = {v: _mode(copy[source == v]) for v in np.unique(source)}
        common = np.isin(source, [v for v in meant if (source == v).sum() >= 200])
        agreement = np.mean([meant[v] == c for v, c in zip(source[common], copy[common], strict=True)])
        # copied with probability 1 - noise; a fresh draw agrees with the probability of that very value
        shares = np.array([(source == v).mean() for v in source[common][:5000]])
        expected = 1 - COPY_NOISE + COPY_NOISE * shares.mean()
        assert agreement == pytest.approx(expected, abs=0.015)
        if len(meant) > 100:
            assert np.mean(copy == source) < 0.1, "a value has another code in the copy"


def _mode(values: np.ndarray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def test_codes_and_places_carry_no_order() -> None:
    """Code and frequency, place and role are unrelated over fields and seeds."""
    correlations = []
    for name in large().columns:
        codes, counts = np.unique(large().columns[name], return_counts=True)
        if 100 < len(codes) < 5000:
            correlations.append(float(np.corrcoef(codes, np.log(counts))[0, 1]))
    assert len(correlations) >= 4
    assert max(map(abs, correlations)) < 0.25
    places = [[int(name[1:]) for name in make(rows=100, seed=s).named("main")] for s in range(30)]
    # 240 places from 0..23, without return within a seed: standard error of the mean below 6.9 / sqrt(240)
    assert np.mean(places) == pytest.approx(11.5, abs=4 * 6.9 / math.sqrt(240))


@pytest.mark.parametrize(
    "params",
    [
        {"fields": 2, "main": 1, "interaction": 0, "redundant": 0},
        {"fields": 2, "main": 0, "interaction": 2, "redundant": 0},
        {"fields": 12, "main": 8, "interaction": 2, "redundant": 2},
        {"fields": 14, "main": 8, "interaction": 2, "redundant": 2},
        {"fields": 60, "main": 3, "interaction": 0, "redundant": 9},
        {"fields": 120, "main": 40, "interaction": 30, "redundant": 10, "rows": 100},
    ],
)
def test_every_sane_combination_works(params: dict[str, int]) -> None:
    made = make(**{"rows": 4000, **params})
    assert len(made.columns) == params["fields"]
    assert len(set(made.columns)) == params["fields"]
    for kind in ("main", "interaction", "redundant"):
        assert len(made.named(kind)) == params[kind]
    assert set(np.unique(made.labels)) == {0, 1}
    assert np.isfinite(made.truth).all()


@pytest.mark.parametrize(
    ("params", "parts"),
    [
        ({"rows": 99}, ["rows=99", "from 100 to"]),
        ({"rows": 1e4}, ["rows=10000.0", "whole number"]),
        ({"fields": 1}, ["fields=1", "from 2 to 1000"]),
        ({"main": -1}, ["main=-1", "from 0"]),
        ({"interaction": 3}, ["interaction=3", "even"]),
        ({"main": 0, "interaction": 0}, ["main=0", "at least 1"]),
        ({"main": 0}, ["redundant=2", "main=0"]),
        ({"fields": 11}, ["fields=11", "at least main + interaction + redundant = 12"]),
        ({"seed": True}, ["seed=True", "whole number"]),
        ({"row": 500}, ["row=500", "Did you mean 'rows'?"]),
    ],
)
def test_bad_parameters_are_named_with_what_is_allowed(params: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        generate(params)
    for part in parts:
        assert part in str(caught.value)


def test_the_card_and_the_generator_agree_on_defaults_and_bounds() -> None:
    card = tomllib.loads(Path(planted.__file__).with_suffix(".toml").read_text())
    defaults = asdict(PlantedParams())
    assert {name: entry["default"] for name, entry in card["params"].items()} == defaults
    for name, entry in card["params"].items():
        choices = entry.get("choices", [])
        for value in ("other",) if choices else (entry["min"] - 1, entry["max"] + 1):
            with pytest.raises(ConfigError, match=f"{name}='?{value}"):
                generate({name: value})
        assert not choices or choices == [NO_JUNK, *JUNK]
    module, _, attribute = card["generator"].partition(":")
    assert module == planted.__name__
    function: Callable[..., object] = getattr(planted, attribute)
    assert function is generate
    assert generate({**defaults, "min_count": 1, "split_seed": 0}).fields[0] == "f00"
