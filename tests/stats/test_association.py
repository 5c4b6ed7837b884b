import math

import numpy as np
import pytest
from scipy.stats.contingency import association
from sklearn.metrics import roc_auc_score

from bench.stats import association as looks
from bench.stats.association import (
    SMOOTHING,
    cramers_v,
    lists_auc,
    partition_signature,
    same_partition,
    single_field_auc,
    twins,
)
from bench.stats.checks import NotTestable


def test_cramers_v_of_a_table_by_hand():
    # rows (0,0): 4, (0,1): 1, (1,0): 1, (1,1): 4; φ² = (16 + 1 + 1 + 16) / 25 - 1 = 0.36
    # φ̃² = 0.36 - 1/9, R̃ - 1 = C̃ - 1 = 1 - 1/9
    a, b = [0] * 5 + [1] * 5, [0, 0, 0, 0, 1, 0, 1, 1, 1, 1]
    assert cramers_v(a, b) == pytest.approx(math.sqrt((0.36 - 1 / 9) / (8 / 9)))


@pytest.mark.parametrize("codes", [(3, 4), (50, 40)])
def test_without_its_correction_it_is_scipys(codes):
    rng = np.random.default_rng(0)
    a = rng.integers(codes[0], size=500)
    b = np.where(rng.random(500) < 0.6, a % codes[1], rng.integers(codes[1], size=500))
    table = np.zeros(codes, dtype=int)
    np.add.at(table, (a, b), 1)
    plain, n = association(table, method="cramer"), 500
    r, c = len(np.unique(a)), len(np.unique(b))
    corrected = plain**2 * (min(r, c) - 1) - (r - 1) * (c - 1) / (n - 1)
    expected = math.sqrt(corrected / min(k - 1 - (k - 1) ** 2 / (n - 1) for k in (r, c)))
    assert cramers_v(a, b) == pytest.approx(expected)
    assert cramers_v(b, a) == pytest.approx(expected)


def test_equal_columns_have_v_1_and_independent_ones_about_0_however_many_codes():
    rng = np.random.default_rng(1)
    a, b = rng.integers(300, size=(2, 1000))
    assert cramers_v(a, 7 * a - 3) == pytest.approx(1)
    assert cramers_v(a, b) < 0.1  # uncorrected it is √(299 / 1000) = 0.55


def test_v_is_undefined_for_a_constant_and_for_a_column_of_different_codes():
    assert math.isnan(cramers_v([1, 1, 1, 1], [0, 1, 0, 1]))
    assert math.isnan(cramers_v([0, 1, 2, 3], [0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([9, -5, 9, 10**15, -5], True),
        ([0, 1, 0, 1, 1], False),  # joins codes
        ([0, 1, 3, 2, 1], False),  # divides one
        ([0, 1, 1, 2, 0], False),  # as many codes, in other rows
    ],
)
def test_same_partition_is_equality_up_to_renaming(other, same):
    column = np.array([0, 1, 0, 2, 1])
    assert same_partition(column, other) is same
    assert same_partition(other, column) is same
    assert (partition_signature(column) == partition_signature(other)) is same


def test_narrow_and_unsigned_codes_do_not_wrap_around():
    wide = np.array([-128, 127, -128, 0])
    assert same_partition(wide, wide.astype(np.int8))
    assert same_partition(wide, np.array([2**64 - 1, 0, 2**64 - 1, 2**63], dtype=np.uint64))


def test_auc_of_a_field_is_that_of_rates_of_the_other_folds():
    rng = np.random.default_rng(2)
    codes = rng.integers(6, size=400)
    labels = (rng.random(400) < 0.1 + 0.12 * codes).astype(int)
    fold = (np.arange(400, dtype=object) * 0x9E3779B1 % 2**32 * 5 // 2**32).astype(int)
    assert np.bincount(fold) == pytest.approx(80, abs=1)
    found = []
    for held in range(5):
        seen, mean = fold != held, labels[fold != held].mean()
        rate = [
            (labels[seen & (codes == code)].sum() + SMOOTHING * mean) / ((seen & (codes == code)).sum() + SMOOTHING)
            for code in range(6)
        ]
        found.append(roc_auc_score(labels[~seen], np.array(rate)[codes[~seen]]))
    assert single_field_auc(codes, labels) == pytest.approx(np.mean(found))


def test_auc_of_a_label_in_disguise_is_1_of_a_constant_and_of_an_id_a_half():
    labels = np.array([0, 1, 1, 0, 1] * 40)
    assert single_field_auc(7 - labels, labels) == 1
    assert single_field_auc(np.zeros(200, dtype=int), labels) == 0.5
    assert single_field_auc(np.arange(200), labels) == 0.5


def test_auc_of_noise_with_many_codes_is_a_half_on_average():
    rng = np.random.default_rng(3)
    found = [single_field_auc(rng.integers(500, size=2000), rng.random(2000) < 0.3) for _ in range(40)]
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / math.sqrt(40))


def test_auc_is_undefined_where_all_labels_are_equal():
    assert math.isnan(single_field_auc([0, 1, 0, 1, 0], [1, 1, 1, 1, 1]))


def _columns(n_rows=4000):
    rng = np.random.default_rng(4)
    a, b = rng.integers(40, size=n_rows), rng.integers(3, size=n_rows)
    nearly = np.where(rng.random(n_rows) < 0.01, rng.integers(40, size=n_rows), a)
    return a, b, nearly


def test_twins_are_grouped_and_near_duplicates_paired_with_the_first_of_a_group():
    a, b, nearly = _columns()
    found = twins([b, a, (a * 7) % 41, nearly, 5 - b, a // 4])
    assert found.groups == ((0, 4), (1, 2))
    assert [(pair.first, pair.second) for pair in found.near] == [(1, 3)]
    assert found.near[0].v == pytest.approx(cramers_v(a, nearly))


def test_a_column_that_another_says_is_not_its_near_duplicate():
    a, _, _ = _columns()
    assert cramers_v(a, a // 4) > 0.99
    assert twins([a, a // 4]).near == ()


def test_constants_and_ids_of_rows_are_nobodys_twins():
    ids = np.arange(100)
    assert twins([ids * 0, ids * 0 + 1, ids, 99 - ids]) == twins([])


def test_near_duplicates_are_looked_for_on_no_more_rows_than_asked_twins_on_all():
    a = np.tile([0, 1, 2, 0], 500)
    late = a.copy()
    late[-1] = 1
    found = twins([a, a + 5, late], rows=100)
    assert found.groups == ((0, 1),)
    assert [(pair.first, pair.second) for pair in found.near] == [(0, 2)]


def test_the_looks_that_end_a_pair_early_lose_none_that_the_full_table_finds():
    rng = np.random.default_rng(5)
    base = rng.integers(12, size=(6, 3000))
    noisy = [np.where(rng.random(3000) < share, rng.integers(12, size=3000), base[0]) for share in (0.005, 0.02, 0.04)]
    columns = [*base, *noisy]
    found = {(pair.first, pair.second) for pair in twins(columns).near}
    wanted = set()
    for i in range(len(columns)):
        for j in range(i + 1, len(columns)):
            table = np.zeros((12, 12))
            np.add.at(table, (columns[i], columns[j]), 1)
            agree = min(table.max(axis=0).sum(), table.max(axis=1).sum()) / 3000
            if agree >= 0.95 and cramers_v(columns[i], columns[j]) > 0.95:
                wanted.add((i, j))
    assert found == wanted
    assert len(wanted) >= 3


def _looked_over(columns, seen):
    """Near pairs of ``columns``, and into ``seen`` how many pairs had their tables made."""
    made = looks._pairs
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(looks, "_pairs", lambda x, y: seen.append(1) or made(x, y))
        return twins(columns).near


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_rows_of_one_code_end_no_pair_that_the_glance_would_not(monkeypatch, at_once):
    """Columns of few and many codes, even and uneven shares, nearly equal or not; none is lost, most are ended."""
    rng = np.random.default_rng(8)
    n, columns = 2500, []
    for sizes in (2, 2, 5, 5, 30, 30, 700, 700):
        base = (rng.random(n) ** rng.choice([1, 4]) * sizes).astype(np.int64)
        columns += [np.where(rng.random(n) < noise, rng.permutation(base), base) for noise in (0, 0.01, 0.04, 0.09, 1)]
    monkeypatch.setattr(looks, "_COLUMNS_AT_ONCE", at_once)
    few: list[int] = []
    found = _looked_over(columns, few)
    monkeypatch.setattr(looks, "_may_agree", lambda rows, first, others: others)
    every: list[int] = []
    assert _looked_over(columns, every) == found
    assert len(found) >= 8
    needed = 2 * len(found)  # a glance, and the table
    assert len(few) - needed < (len(every) - needed) / 2


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ([0, 1], [0, 1, 2], "2 and 3 rows"),
        ([], [], "list of integers"),
        ([0.5, 1.0], [0, 1], "not float64"),
    ],
)
def test_what_is_no_column_of_codes_is_refused(a, b, why):
    with pytest.raises(NotTestable, match=why):
        cramers_v(a, b)


def test_labels_and_folds_that_cannot_be_used_are_refused():
    with pytest.raises(NotTestable, match="labels other than 0 and 1"):
        single_field_auc([0, 1], [0, 2])
    with pytest.raises(NotTestable, match="1 folds"):
        single_field_auc([0, 1], [0, 1], folds=1)
    with pytest.raises(NotTestable, match="unequal lengths"):
        twins([[0, 1], [0, 1, 2]])


def test_a_list_is_ranked_by_the_mean_of_its_values_rates() -> None:
    """Against plain Python: rates of the other folds, their mean over a row's values, scikit-learn's AUC by fold."""
    draw = np.random.default_rng(3)
    n, folds = 400, 5
    lists = [draw.integers(6, size=draw.integers(1, 4)).tolist() for _ in range(n)]
    labels = np.array([int(draw.random() < 0.2 + 0.1 * np.mean(row)) for row in lists])
    fold = [int(((i * 0x9E3779B1) & 0xFFFFFFFF) * folds >> 32) for i in range(n)]
    found = []
    for held in range(folds):
        pairs = [(v, labels[i]) for i in range(n) if fold[i] != held for v in lists[i]]
        mean = sum(label for _, label in pairs) / len(pairs)
        of = {v: [label for value, label in pairs if value == v] for v in range(6)}
        rate = {v: (sum(seen) + SMOOTHING * mean) / (len(seen) + SMOOTHING) for v, seen in of.items()}
        mine = [i for i in range(n) if fold[i] == held]
        scores = [round(sum(rate[v] for v in lists[i]) / len(lists[i]), 12) for i in mine]
        found.append(roc_auc_score(labels[mine], scores))
    padded = np.array([sorted(row) + [-1] * (3 - len(row)) for row in lists])
    assert lists_auc(padded, labels) == pytest.approx(float(np.mean(found)), abs=1e-12)


def test_of_one_value_a_row_it_is_the_auc_of_the_field() -> None:
    draw = np.random.default_rng(4)
    codes, labels = draw.integers(9, size=300), draw.integers(2, size=300)
    padded = np.stack([codes, np.full(300, -1)], axis=1)
    assert lists_auc(padded, labels) == pytest.approx(single_field_auc(codes, labels), abs=1e-12)
