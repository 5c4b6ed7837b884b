"""Junk fields of the planted data: what they are made of, that they change nothing else, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.datasets.planted import JUNK_NOISE, generate
from bench.errors import ConfigError
from bench.stats.recovery import JUNK
from tests.datasets.test_planted import Made, chi2_z, make

TABULAR = {"rows": 20_000, "fields": 20, "redundant": 0, "share": 0.5}


def true(made: Made) -> dict[str, np.ndarray]:
    """Columns of the true fields, by name."""
    return {name: made.columns[name] for name in sorted(made.named("main") + made.named("interaction"))}


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize(("fields", "share"), [(20, 0.5), (40, 0.75)])
def test_junk_has_its_share_of_the_fields(kind: str, fields: int, share: float) -> None:
    roles = generate({"rows": 100, "fields": fields, "redundant": 0, "junk": kind, "share": share}).roles
    counts = Counter(role.partition(":")[0] for role in roles.values())
    assert counts == {"main": 8, "interaction": 2, kind: share * fields}
    more = generate({"rows": 100, "fields": 30, "junk": kind, "share": 0.5}).roles
    kinds = Counter(role.partition(":")[0] for role in more.values())
    assert (kinds[kind], kinds["redundant"], kinds["constant"]) == (15, 2, 1), "the rest is noise as without junk"


def test_true_fields_truth_and_labels_are_the_same_with_every_kind_and_with_none() -> None:
    made = {kind: make(rows=2000, fields=20, redundant=0, junk=kind) for kind in JUNK}
    plain = make(rows=2000, fields=20, redundant=0)
    for one in made.values():
        np.testing.assert_array_equal(one.labels, plain.labels)
        np.testing.assert_array_equal(one.truth, plain.truth)
        assert list(true(one)) == list(true(plain))
        for name, column in true(one).items():
            np.testing.assert_array_equal(column, plain.columns[name])
    wide = make(rows=2000, fields=40, redundant=0, junk="random", share=0.75)
    np.testing.assert_array_equal(wide.labels, plain.labels)


def test_random_junk_says_nothing_of_the_label_and_has_as_many_values_as_main_fields() -> None:
    made = make(**TABULAR, junk="random")
    junk = [made.columns[name] for name in made.named("random")]
    z = [chi2_z(column, made.labels) for column in junk]
    assert max(map(abs, z)) < 4
    assert abs(np.mean(z)) < 4 / np.sqrt(len(z))
    values = sorted(len(np.unique(column)) for column in junk)
    assert values[:3] == [3, 4, 4] and values[-1] > 500


def test_a_corrupted_copy_agrees_with_a_true_field_in_the_rows_that_were_not_drawn_afresh() -> None:
    made = make(**TABULAR, junk="corrupted")
    names = made.named("corrupted")
    assert sorted(made.other(name) for name in names) == sorted(true(made)), "each true field once"
    for name in names:
        source = made.columns[made.other(name)]
        copy = made.columns[name]
        # of one code of the copy, the source's most common value there is the copied one: (1 - noise) + noise · share
        share, expected = 0.0, 0.0
        for code in np.unique(copy):
            rows = source[copy == code]
            share += np.unique(rows, return_counts=True)[1].max() / len(copy)
        expected = (1 - JUNK_NOISE) + JUNK_NOISE * sum((np.unique(source, return_counts=True)[1] / len(source)) ** 2)
        assert share == pytest.approx(expected, abs=0.05 if len(np.unique(source)) < 300 else 0.2)


def test_second_order_junk_is_two_true_fields_at_once_and_never_two_that_interact() -> None:
    made = make(**TABULAR, junk="second-order")
    joined = [tuple(made.other(name).split("+")) for name in made.named("second-order")]
    partners = {name: made.other(name) for name in made.named("interaction")}
    assert len(set(joined)) == len(joined) == 10
    for name, (a, b) in zip(made.named("second-order"), joined, strict=True):
        assert {a, b} <= set(true(made))
        assert partners.get(a) != b
        column, first, second = (made.columns[one] for one in (name, a, b))
        missing = (first < 0) | (second < 0)
        np.testing.assert_array_equal(column < 0, missing)
        pairs = {(x, y, z) for x, y, z in zip(first[~missing], second[~missing], column[~missing], strict=True)}
        assert len(pairs) == len({p[:2] for p in pairs}) == len({p[2] for p in pairs}), "one code a pair of values"
    every = generate({"rows": 100, "fields": 100, "redundant": 0, "junk": "second-order", "share": 0.9}).roles
    used = Counter(role for role in every.values() if role.startswith("second-order"))
    assert len(used) == 10 * 9 // 2 - 1, "all pairs but that of the interaction"
    assert set(used.values()) == {2, 3}, "90 fields of 44 pairs"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"junk": "noise"}, "junk='noise' is not allowed; it must be one of none, random, corrupted, second-order"),
        ({"share": 0.75}, "share=0.75 is not allowed; it must be left out where junk=none"),
        ({"junk": "random", "share": 0.75}, "fields=24 is not allowed; it must be at least main + interaction"),
        ({"junk": "random", "share": 1.5}, "share=1.5 is not allowed; it must be from 0 to 1"),
        ({"junk": "second-order", "main": 0, "redundant": 0}, "no two fields are true that do not interact"),
        ({"junk": "second-order", "main": 1, "interaction": 0}, "no two fields are true that do not interact"),
    ],
)
def test_what_cannot_be_planted_is_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        generate(params)
    assert message in str(refused.value)
