"""``[fields]`` of a card: on what terms fields may be dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.budget import Terms
from bench.data.card.card import DatasetCard, load_card
from bench.data.prepare.prepare import prepare
from bench.data.store.store import read_facts
from bench.errors import ConfigError

COLUMNS = """name = "clicks"
[raw]
files = ["t.csv"]
[raw.columns]
y = "label"
city = "categorical"
"geo_lat" = "categorical"
"geo_lon" = "categorical"
at = { kind = "time", format = "unix", parts = { hour = "hour", day = "weekday" } }
tags = { kind = "categorical", separator = "|", multi = "first", positions = 2 }
user = "ignore"
"""
NAMES = ("city", "geo_lat", "geo_lon", "hour", "day", "tags_1", "tags_2")
GENERATED = """name = "mine"
generator = "bench.datasets.planted:generate"
[params]
rows = 300
fields = 4
main = 1
interaction = 0
redundant = 0
seed = 0
"""


def card(folder: Path, text: str) -> DatasetCard:
    (folder / "card.toml").write_text(text)
    return load_card(folder / "card.toml")


def test_terms_are_said_by_name_or_pattern_of_any_field_that_a_column_makes(tmp_path: Path) -> None:
    found = card(
        tmp_path,
        f"""{COLUMNS}
        [fields]
        city = {{ keep = true, cost = 3 }}
        "geo_*" = {{ group = "geo", cost = 0.5 }}
        geo_lon = {{ cost = 0 }}
        hour = {{ group = "time", keep = true }}
        day = {{ group = "time" }}
        "tags_?" = {{ group = "tags" }}
        """,
    ).terms_of_fields(NAMES)
    groups = {"geo": (1, 2), "time": (3, 4), "tags": (5, 6)}
    assert found == Terms((0, 3, 4), groups, {0: 3.0, 1: 0.5, 2: 0.0})


def test_a_store_does_not_depend_on_them(tmp_path: Path) -> None:
    store, plain = tmp_path / "store", card(tmp_path, GENERATED)
    prepare(plain, None, store)
    said = card(tmp_path, f"{GENERATED}[fields]\nf01 = {{ keep = true }}\n")
    assert (said.definition, said.key, said.spec) == (plain.definition, plain.key, plain.spec)
    facts, before = read_facts(store, said), read_facts(store, plain)
    assert (facts.field_terms, before.field_terms) == (Terms(locked=(1,)), Terms())
    assert facts.revision == before.revision


def test_a_name_that_generated_data_lack_is_refused_when_the_store_is_opened(tmp_path: Path) -> None:
    said = card(tmp_path, f"{GENERATED}[fields]\nf9 = {{ keep = true }}\n")
    prepare(said, None, tmp_path / "store")
    with pytest.raises(
        ConfigError, match=r"data set 'mine': \[fields\]: 'f9': the name is no field's\. Known: f00, f01"
    ):
        read_facts(tmp_path / "store", said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cty = { keep = true }", "[fields]: 'cty': the name is no field's. Did you mean 'city'"),
        ("y = { keep = true }", "[fields]: 'y': the name is no field's."),
        ("user = { keep = true }", "[fields]: 'user': the name is no field's."),
        ('"zip_*" = { keep = true }', "[fields]: 'zip_*': the pattern matches no field."),
        ("city = { cost = -1 }", "[city]: cost = -1.0 must be a number of at least 0"),
        ("city = { cost = inf }", "[city]: cost = inf must be a number of at least 0"),
        ('city = { cost = "2" }', "[city]: cost = '2' must be a number, without quotes"),
        ("city = { keep = 1 }", "[city]: keep = 1 must be true or false"),
        ('city = { group = " " }', "[city]: group = ' ' must be a name of one line"),
        ("city = { locked = true }", "[city]: the key 'locked' is unknown."),
        ("city = {}", "[city]: says nothing; give keep, group or cost."),
        ("city = true", "[fields]: city = True must be a table."),
        (
            '"geo_*" = { cost = 2 }\n"*_lat" = { cost = 3 }',
            "'geo_*' and '*_lat' both match the field 'geo_lat' and give it two values of cost, 2.0 and 3.0; name the",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        card(tmp_path, f"{COLUMNS}[fields]\n{text}\n")
    assert message in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("keep", "true"), ("group", '"geo"'), ("cost", "2.5")])
def test_beside_a_column_s_kind_the_message_says_where_they_belong(tmp_path: Path, key: str, value: str) -> None:
    said = f'city = {{ kind = "categorical", {key} = {value} }}'
    with pytest.raises(ConfigError) as caught:
        card(tmp_path, COLUMNS.replace('city = "categorical"', said))
    assert f"write it under [fields], as NAME = {{ {key} = {value} }}" in str(caught.value)


def test_terms_do_not_reach_over_tables_that_lack_a_field(tmp_path: Path) -> None:
    two = f"""{COLUMNS.replace("[raw", "[[raw").replace("[[raw]", "[[raw]]").replace("[[raw.columns]", "[raw.columns]")}
        [[raw]]
        files = ["u.csv"]
        [raw.columns]
        y = "label"
        city = "categorical"
        [fields]
        city = {{ group = "place" }}
        geo_lat = {{ group = "place", cost = 2 }}
        hour = {{ keep = true }}
        """
    found = card(tmp_path, two)
    assert found.terms_of_fields(NAMES) == Terms((3,), {"place": (0, 1)}, {1: 2.0})
    assert found.terms_of_fields(["city"]) == Terms((), {"place": (0,)}, {})
    assert np.array_equal(Terms((), {"place": (0,)}).units(2), [(0,), (1,)])
