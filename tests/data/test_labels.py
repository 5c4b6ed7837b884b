"""Labels by rules and by lists: no value counts as 0 because the card does not know it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reference import write_card

from bench.data.card.labels import LabelRule, LabelValues
from bench.data.prepare.prepare import Settings, prepare
from bench.errors import ConfigError, DataError

CARD = 'name = "l"\n[raw]\nKEYS\n[raw.columns]\ny = "label"\nc = "categorical"\n'
INCOME = ["<=50K"] * 60 + [">50K"] * 20 + ["<=50K."] * 30 + [">50K."] * 10
random.Random(0).shuffle(INCOME)


def labels_of(tmp_path, keys, values, chunk_bytes=100):
    """The labels that ``values`` get in a store, read in small parts."""
    (tmp_path / "l.csv").write_text("y,c\n" + "".join(f"{value},{i % 5}\n" for i, value in enumerate(values)))
    card = write_card(tmp_path, CARD.replace("KEYS", keys))
    store = prepare(card, tmp_path / "l.csv", tmp_path / "out", settings=Settings(chunk_bytes=chunk_bytes))
    return np.load(store / "labels.npy").tolist()


@pytest.mark.parametrize(
    ("rule", "value", "label"),
    [
        ("", "1", 1),
        ("", "0", 0),
        ("", "2", None),
        ("", "true", None),
        ("", "1.0", 1),
        ("", "0.0", 0),
        ("", "True", 1),
        ("", "False", 0),
        ("", "1.00", None),
        ("", " 1", None),
        (">= 4", "4.0", 1),
        (">= 4", " 4", 1),
        (">= 4", "3.5", 0),
        (">= 4", "4e0", 1),
        (">=4", "x", None),
        ("< 2", "1", 1),
        ("== 3", "3.0", 1),
        ("== 3", "three", None),
        ("== yes", "yes", 1),
        ("!= yes", "yes", 0),
        ("== yes", "no", 0),
        (">= 4", "nan", None),
        (">= 4", "inf", None),
        (">= 4", "1e999", None),
        (">= 4", "1_0", None),
        (">= 4", "٥", None),
        (">= 4", "", None),
    ],
)
def test_label_rules(rule, value, label):
    assert LabelRule.parse(rule, "here").label(value) == label


def test_label_rules_that_are_none():
    for text in ("4", ">=", "=> 4", ">= four", ">= inf", "< nan"):
        with pytest.raises(ConfigError, match=r"here: label_rule"):
            LabelRule.parse(text, "here")


def test_lists_of_both_labels(tmp_path):
    found = labels_of(tmp_path, 'positive = [">50K", ">50K."]\nnegative = ["<=50K", "<=50K."]', INCOME)
    assert found == [int(">" in value) for value in INCOME]
    assert sum(found) / len(found) == 0.25


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ('positive = ["yes"]', ["yes", "no"]),
        ('negative = ["no"]', ["yes", "no"]),
        ('positive = ["yes", "Yes"]', ["yes", "no"]),
        ('label_rule = "== yes"', ["yes", "no"]),
        ('label_rule = "!= no"', ["yes", "no"]),
        ('positive = [" yes"]', [" yes", "yes"]),
        ('positive = ["1.0"]', ["1.0", "0.0"]),
        ('positive = ["1"]', ["1", "-1"]),
        ('positive = ["a \\"b\\""]\nnegative = ["é"]', ['"a ""b"""', "é"]),
    ],
)
def test_of_two_values_one_may_go_unnamed(tmp_path, keys, values):
    rows = [values[i % 3 % 2] for i in range(60)]
    assert labels_of(tmp_path, keys, rows) == [1 - i % 3 % 2 for i in range(60)]


BOTH = r'positive = \["…"\], negative = \["…"\]'


@pytest.mark.parametrize(
    ("keys", "values", "message"),
    [
        (
            'label_rule = "== >50K"',
            INCOME,
            r"l.csv: the label column 'y': label_rule = '== >50K' tells two values apart, '>50K' and one other, and "
            r"the column holds '<=50K' \(60 rows\), '<=50K.' \(30 rows\), '>50K' \(20 rows\), '>50K.' \(10 rows\); .*"
            r'positive = \["…", "…"\], negative = \["…"\]',
        ),
        ('label_rule = "!= no"', ["no", "yes", "maybe"] * 20, r"'maybe' \(20 rows\), 'no' \(20 rows\), 'yes'"),
        # The operand has no blank before it, the values do: the rule names none of them.
        ('label_rule = "== a"', [" a", " b"] * 30, r"holds ' a', which is 'a' but for blanks; .* trim = true"),
        (
            'positive = [">50K", ">50K."]',
            INCOME,
            r'that positive = \[">50K", ">50K."\] does not name: \'<=50K\' \(60 rows\), \'<=50K.\' \(30 rows\); list '
            r"those that count as 0 under \[raw\] of the card: negative = ",
        ),
        (
            'negative = ["<=50K", "<=50K."]',
            INCOME,
            r"'>50K' \(20 rows\), '>50K.' \(10 rows\); .* count as 1 .* positive",
        ),
        (
            'positive = [">50K"]\nnegative = ["<=50K"]',
            ["<=50K", ">50K", "<=50K."] * 20,
            r"line 4, column 'y': the label is '<=50K.', not one of '>50K', '<=50K'; mend the line, or .*" + BOTH,
        ),
        ("", ["0"] * 40, r"none of the 40 rows has the label 1 .*holds '0' \(40 rows\). Pass a table .*" + BOTH),
        ("", ["1"] * 40, r"none of the 40 rows has the label 0 .*holds '1' \(40 rows\)"),
        ('positive = ["yes"]', ["yes"] * 40, r"none of the 40 rows has the label 0"),
        ('positive = ["Yes"]', ["yes"] * 40, r"none of the 40 rows has the label 1 .*'yes' \(40 rows\)"),
        (
            'label_rule = ">= 4"',
            ["1", "2"] * 20,
            r"label 1 \(label_rule = '>= 4'\); the column holds '1' \(20 rows\), '2' ",
        ),
        ('label_rule = ">= 4"', [f"{i / 50}" for i in range(100)], r" and 90 more, from 0 to 1.98. Pass a table"),
        ('label_rule = ">= 4"', [f"{i / 1e4}" for i in range(9000)], r"more, from 0 to 0.8999. .*or mend label_rule"),
        ('positive = ["a"]', [f"v{i}" for i in range(5000)], r"'v0' \(1 row\), .* and over 990 more; list those"),
        (
            'label_rule = ">= 4"',
            ["5", "nan"] * 20,
            r"line 3, column 'y': the label is 'nan', not a number; mend the line,",
        ),
        (
            "",
            ["1", "true"] * 20,
            r"line 3, column 'y': the label is 'true', not 0 or 1; mend the line, or say .*" + BOTH,
        ),
        ("", ["1.00", "0.0"] * 20, r"line 2, column 'y': the label is '1.00', not 0 or 1; .*positive = ..1.00"),
        (
            "",
            ["1", "-1"] * 20,
            r"line 3, column 'y': the label is '-1', not 0 or 1; .*positive = ..1.., negative = ..-1",
        ),
        ("", ["0", " 1"] * 20, r"line 3, column 'y': the label is ' 1', not 0 or 1; .*trim = true"),
        (
            "",
            ["0", ""] * 20,
            r"line 3, column 'y': the label is missing, and must be 0 or 1; mend the line or",
        ),
    ],
)
def test_labels_that_the_card_does_not_know(tmp_path, keys, values, message):
    with pytest.raises(DataError, match=message):
        labels_of(tmp_path, keys, values)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('label_rule = ">= 4"\npositive = ["5"]', r"label_rule = '>= 4' and positive exclude each other; give one"),
        ('label_rule = ">= 4"\nnegative = ["5"]', r"label_rule = '>= 4' and negative exclude each other"),
        ("positive = []", r"positive = \[\] names no value of the label column"),
        ('positive = ["a", "b"]\nnegative = ["b"]', r"the label 'b' is both positive and negative"),
        ("positive = [1]", r"positive must be a list of strings; 1 is none"),
        ('positiv = ["1"]', r"the key 'positiv' is unknown. Did you mean 'positive'"),
    ],
)
def test_keys_that_cannot_be(tmp_path, keys, message):
    with pytest.raises(ConfigError, match=message):
        write_card(tmp_path, CARD.replace("KEYS", keys))


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=9), max_size=6))
@settings(max_examples=50, deadline=None)
def test_values_are_counted_over_all_blocks(blocks):
    rule, total = LabelRule.parse("== a", ""), LabelValues()
    for block in blocks:
        texts = sorted(set(block))
        total.add(LabelValues.of(texts, np.array([block.count(text) for text in texts], dtype=int), rule))
    rows = [value for block in blocks for value in block]
    assert total.counts == {value: rows.count(value) for value in set(rows)}
    assert not total.more
