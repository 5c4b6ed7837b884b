"""All faults of a card are found, each at its line and column."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bench.data.card.card_check import check_card
from bench.data.card.toml_places import Place, key_places, place_of
from bench.datasets import TABLE, card_path

BAD = """title = 5
min_count = 0

[raw]
delimiter = ""
quote = "ab"
headr = true
label_rule = "about 4"

[raw.columns]
clicked = "lable"
user = "categoric"
price = { kind = "numeric", multi = "first" }
when = { kind = "time", format = "iso8601", parts = { h = "houre" } }
"a.b" = 3
twice = { kind = "categorical", field = "user" }

[split]
valid = 0.3

[time]
column = "whn"

[l2]
paper = -1
"""


def test_every_fault_is_named_at_its_place(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    checked = check_card(path)
    found = [(one.place.line, one.place.column, one.text) for one in checked.faults]
    lines = BAD.splitlines()
    expected = [  # line, what stands there, what is said
        (1, "title", "'name' is missing"),
        (1, "title", "title = 5 must be text"),
        (2, "min_count", "min_count = 0 is out of range"),
        (5, "delimiter", "delimiter = ''"),
        (6, "quote", "quote = 'ab'"),
        (7, "headr", "Did you mean 'header'?"),
        (8, "label_rule", "label_rule = 'about 4'"),
        (11, "clicked", "Did you mean 'label'?"),
        (12, "user", "Did you mean 'categorical'?"),
        (13, "multi", "multi is a key of the kind 'categorical'"),
        (14, "format", "Did you mean 'iso'?"),
        (14, "h = ", "Did you mean 'hour'?"),
        (15, '"a.b"', "a.b = 3 must be one of"),
        (16, "twice", "'user' is made by two columns"),
        (18, "split", "sum to 1"),
        (22, "column", "Did you mean 'when'?"),
        (25, "paper", "paper = -1.0 is out of range"),
    ]
    assert len(found) == len(expected), found
    for line, start, said in expected:
        at = [
            text for where, column, text in found if where == line and lines[line - 1][column - 1 :].startswith(start)
        ]
        assert any(said in text for text in at), (line, start, said, found)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_shipped_cards_have_no_fault(name):
    checked = check_card(card_path(TABLE[name]))
    assert checked.faults == ()
    assert checked.card is not None
    assert checked.card.name == name


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("name = \n", Place(1, 8), "is not valid TOML"),
        (
            'name = "a"\n[raw.columns]\ny = "categorical"\n',
            Place(2, 2),
            "exactly one column must have the kind 'label'",
        ),
        ('name = "a"\n[raw.columns]\ny = "label"\n', Place(2, 2), "no column makes a field"),
        ('name = "a"\n', Place(1, 1), "either a [raw] table or a generator"),
        ('name = "a"\n[raw.columns]\ny = "label"\nb.c = "integer"\n', Place(4, 1), 'write "b.c"'),
        ('name = "a"\n[raw.columns]\ny = "label"\nz = "label"\nx = "integer"\n', Place(4, 1), "found ['y', 'z']"),
        ('name = "a"\nraw = 3\n', Place(2, 1), "raw must be a table"),
        ('name = "a/b"\n[raw.columns]\ny = "label"\nx = "integer"\n', Place(1, 1), "must consist of letters"),
    ],
)
def test_one_fault_is_found_once(tmp_path, text, place, said):
    path = tmp_path / "one.toml"
    path.write_text(text)
    (fault,) = check_card(path).faults
    assert fault.place == place
    assert said in fault.text


PLACES = """# a comment = "[none]"
a = 1
'b c'.d = "x # no comment" # a comment
[t]   # [u]
list = [
  "x", # one
  { k = [1, 2], l = '''
[no]
table = 1''' },
]
s = \"\"\"
[also.none] "quoted" \\\"\"\"
\"\"\"
[[many]]
e = 2024-01-01 10:00:00
[many.sub]
"q\\"q" = { v = "}" }
[[many]]
e = -1.5
"""


def test_keys_stand_where_a_reader_sees_them():
    places = key_places(PLACES)
    lines = PLACES.splitlines()
    at = {path: lines[place.line - 1][place.column - 1 :] for path, place in places.items()}
    assert at[("a",)] == "a = 1"
    assert at[("b c", "d")].startswith("'b c'.d")
    assert at[("t",)].startswith("t]")
    assert at[("t", "list", 0)].startswith('"x", # one')
    assert at[("t", "list", 1, "k", 1)].startswith("2], l")
    assert places[("t", "list", 1, "l")] == Place(7, 17)
    assert at[("t", "s")].startswith("s = ")
    assert at[("many", 0, "sub", 'q"q', "v")].startswith('v = "}"')
    assert places[("many", 1, "e")] == Place(19, 1)
    assert not any("none" in path or "no" in path or "u" in path for path in places)
    assert place_of(places, ("many", 0, "absent", "more")) == places[("many", 0)]
    assert place_of(places, ("absent",)) == Place(1, 1)


def paths_of(value, path=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from paths_of(one, (*path, key))


@pytest.mark.parametrize("name", sorted(TABLE))
def test_all_keys_of_shipped_cards_have_a_place(name):
    text = Path(card_path(TABLE[name])).read_text(encoding="utf-8")
    assert set(paths_of(tomllib.loads(text))) == set(key_places(text))
    assert set(paths_of(tomllib.loads(PLACES))) <= set(key_places(PLACES))
