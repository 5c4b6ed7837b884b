from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
from plain_reference import write_card

from bench.data.card.card import load_card
from bench.datasets import TABLE, DatasetEntry, card_path, resolve_dataset
from bench.errors import ConfigError

CARD = """
name = "mine"
[raw.columns]
clicked = "label"
age = "integer"
city = "categorical"
"""


@pytest.mark.parametrize("name", list(TABLE))
def test_shipped_cards_can_be_read_and_agree_with_their_table(name):
    card = load_card(card_path(TABLE[name]))
    assert (card.name, card.key, card.spec) == (name, name, name)
    assert card.title and card.licence
    assert (TABLE[name].access == "terms") == bool(card.terms)
    if not card.generator:
        assert card.citation and card.homepage
        assert bool(card.downloads) != bool(card.terms)


FIELDS = {
    "criteo": [39],
    "avazu": [24],
    "aliccp": [23],
    "movielens": [7],
    "movielens-latest-small": [7],
    "movielens-1m": [11, 8],
    "movielens-100k": [10],
}


@pytest.mark.parametrize("name", list(FIELDS))
def test_shipped_cards_follow_the_protocol(name):
    card = resolve_dataset(name)
    assert [len(layout.fields) for layout in card.layouts] == FIELDS[name]
    apart = {"criteo": (0.72, 0.18, 0.1), "aliccp": (0.9, 0.1, 0.0)}  # of the latter the test rows have their own file
    assert card.shares == pytest.approx(apart.get(name, (0.8, 0.1, 0.1)))
    assert card.min_count == {"criteo": 10, "avazu": 2, "aliccp": 10}.get(name, 1)
    assert card.profile_values["embedding_dim"]["anchor"] == (64 if "movielens" in name else 10)


def test_field_names_of_the_movielens_cards():
    user = ["gender", "age", "occupation", "zip"]
    movie = ["user", "movie", "genres", "release_year"]
    times = ["rating_year", "weekday", "hour"]
    assert list(resolve_dataset("movielens").layouts[0].fields) == movie + times
    assert [list(one.fields) for one in resolve_dataset("movielens-1m").layouts] == [movie + user + times, movie + user]
    assert list(resolve_dataset("movielens-100k").layouts[0].fields) == movie + user + times[1:]


def test_overrides_are_typed_and_make_a_key_of_their_own():
    card = resolve_dataset("criteo[min_count=2,numeric_buckets=merged,split_seed=1]")
    changed = {"min_count": 2, "numeric_buckets": "merged", "split_seed": 1}
    assert (card.min_count, card.merged_buckets, card.split_seed) == (2, True, 1)
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    assert card.key == f"criteo@{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    assert card.spec == "criteo[min_count=2,numeric_buckets=merged,split_seed=1]"
    assert resolve_dataset("criteo[min_count=10]").key == "criteo"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("crite", "data set 'crite' is unknown. Did you mean 'criteo'"),
        ("criteo[min_cuont=3]", "no parameter 'min_cuont' .*Did you mean 'min_count'"),
        ("criteo[min_count=0]", r"min_count=0 is out of range; allowed: \[1, "),
        ("criteo[min_count=two]", "min_count=two is not of type int"),
        ("criteo[split_seed=-1]", "split_seed=-1 is out of range"),
        ("criteo[numeric_buckets=both]", "numeric_buckets=both is not allowed; choose one of apart, merged"),
        ("avazu[numeric_buckets=merged]", "no parameter 'numeric_buckets'"),
        ("no/such/card.toml", "card.toml: cannot be read .No such file"),
    ],
)
def test_bad_specs_name_thing_value_and_mend(spec, message):
    with pytest.raises(ConfigError, match=message):
        resolve_dataset(spec)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name =", "nmae =", "key 'name' is missing"),
        ("[raw.columns]", "[raw]\n[tme]\n[raw.columns]", "key 'tme' is unknown. Did you mean 'time'"),
        ("[raw.columns]", "[raw]\n[ancor]\n[raw.columns]", "key 'ancor' is unknown. Did you mean 'anchor'"),
        ('"mine"', '"mine"\nmin_cout = 3', "key 'min_cout' is unknown. Did you mean 'min_count'"),
        ('"mine"', '"mine"\nmin_count = "3"', "min_count = '3' must be a whole number"),
        ('"mine"', '"mine"\nmin_count = 0', "min_count = 0 is out of range"),
        ('"mine"', '"mine"\nrevision = true', "revision = True must be a whole number"),
        ('"mine"', '"raw"', r"name = 'raw' must consist of .* not be 'raw'"),
        ('"mine"', '"a/b"', "name = 'a/b' must consist of"),
        ('"mine"', '"mine"\nsplit = { train = nan }', "train = nan, valid = 0.1, test = 0.1 must be above 0"),
        ('"mine"', '"mine"\nsplit = { train = inf }', "train = inf, valid = 0.1, test = 0.1 must be above 0"),
        ('"mine"', '"mine"\nmin_count = 99999999999999999999', "min_count = 99999999999999999999 is out of range"),
        (
            '"mine"',
            '"mine"\nembedding_dim = { small = 0 }',
            r".embedding_dim. small = 0 is out of range; allowed: .1",
        ),
        ('"mine"', '"mine"\nl2 = { anchor = -1 }', r".l2. anchor = -1.0 is out of range; allowed: .0, inf"),
        ('"mine"', '"mine"\nl2 = { anchor = nan }', r".l2. anchor = nan is out of range"),
        ('"mine"', '"mine"\nevaluate_every = 0', r"evaluate_every = 0.0 is out of range; allowed: .0, inf"),
        (
            "[raw.columns]",
            '[raw]\nnegative = ["b", ""]\n[raw.columns]',
            "'' is a label and listed under missing; leave it in one list",
        ),
        ('"mine"', '"mine"\nsplit = { train = 0.9 }', "train = 0.9, valid = 0.1, test = 0.1 must .* sum to 1"),
        ('"mine"', '"mine"\ngenerator = "a:b"', r"either a \[raw\] table or a generator"),
        ("[raw.columns]", '[raw]\ndelimeter = ";"\n[raw.columns]', "'delimeter' is unknown. Did you mean 'delimiter'"),
        ("[raw.columns]", '[raw]\ndelimiter = ""\n[raw.columns]', "delimiter = '' must be what stands between"),
        (
            "[raw.columns]",
            '[raw]\ndelimiter = ",\\n"\n[raw.columns]',
            "delimiter = .* must be what stands between",
        ),
        ("[raw.columns]", "[raw]\ndelimiter = '\"'\n[raw.columns]", "delimiter = '\"' and quote share a character"),
        ("[raw.columns]", '[raw]\nquote = "«"\n[raw.columns]', "quote = '«' must be one ASCII sign, such as"),
        ("[raw.columns]", "[raw]\nquote = '\"\"'\n[raw.columns]", "quote = '\"\"' must be one ASCII sign, such as"),
        ("[raw.columns]", '[raw]\nquote = "q"\n[raw.columns]', "quote = 'q' must be one ASCII sign, such as"),
        ("[raw.columns]", '[raw]\nescape = "esc"\n[raw.columns]', "escape = 'esc' must be one ASCII sign"),
        ("[raw.columns]", "[raw]\nescape = '\"'\n[raw.columns]", "quote = '\"' and escape share a character"),
        ("[raw.columns]", '[raw]\nencoding = "utf8x"\n[raw.columns]', "encoding = 'utf8x' is unknown. Did you mean"),
        (
            "[raw.columns]",
            '[raw]\nnewlines_in_values = true\nquote = ""\n[raw.columns]',
            "newlines_in_values = true needs quotes around such values; set quote",
        ),
        ("[raw.columns]", '[raw]\nlabel_rule = "4"\n[raw.columns]', "label_rule = '4' is not of the form"),
        ("[raw.columns]", '[raw]\nlabel_rule = "> a"\n[raw.columns]', "'> a' compares with 'a', which is no number"),
        ("[raw.columns]", '[raw]\nfields = ["town"]\n[raw.columns]', "field 'town' is made by no column"),
        ('"integer"', '"intger"', "kind 'intger' does not exist. Did you mean 'integer'"),
        ('"integer"', '"label"', r"exactly one column must have the kind 'label'; found \['clicked', 'age'\]"),
        ('"integer"', '{ kind = "integer", field = "city" }', "the field 'city' is made by two columns"),
        ('"integer"', '{ kind = "time", format = "unix", parts = { h = "hours" } }', "part 'hours' does not exist"),
        (
            '"integer"',
            '{ kind = "time", format = "iso8601", parts = { h = "hour" } }',
            "format 'iso8601' does not exist. Did you mean 'iso'",
        ),
        ('age = "integer"\ncity = "categorical"', 'age = "ignore"', "no column makes a field"),
        ("age =", r'"a\u0007ge" =', r"field 'a\\x07ge' has a control character .* name it with field = "),
        ("age =", r'"a\nge" =', "has a control character"),
    ],
)
def test_a_card_is_read_strictly(tmp_path, old, new, message):
    write_card(tmp_path, CARD)
    with pytest.raises(ConfigError, match=message):
        write_card(tmp_path, CARD.replace(old, new))


def test_a_card_that_is_no_toml(tmp_path):
    with pytest.raises(ConfigError, match=r"own.toml: is not valid TOML"):
        write_card(tmp_path, "name =")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('education.num = "integer"', 'a name with a dot stands in quotes; write "education.num" = "integer".'),
        ('a.b.c = "numeric"', 'write "a.b.c" = "numeric".'),
        ('kind.x = "label"', 'write "kind.x" = "label".'),
        ('t.shown = { kind = "ignore" }', 'write "t.shown" = { … }.'),
        ('a.kind = "integer"\na.num = "integer"', 'write "a.num" = "integer".'),
        ('{ knd = "integer" }', "is not valid TOML"),
        ('x = { knd = "integer" }', "the key 'kind' is missing"),
        ('my col = "integer"', 'It reads: my col = "integer" (a name of other signs than a to z'),
        ('prix_é = "integer"', 'stands in quotes, as "prix_é" = "integer").'),
        ('点 = "integer"', 'stands in quotes, as "点" = "integer").'),
        ('a/b = "integer"', 'as "a/b" = "integer").'),
        ('a#b = "integer"', 'as "a#b" = "integer").'),
        ('age = "integer"', 'It reads: age = "integer" (it is there twice; leave one out).'),
        ("[raw.columns]", "(it is there twice; leave one out)."),
        ("a = integer", 'It reads: a = integer (text stands in straight quotes, as a = "integer"; true and false are'),
        ("a = “integer”", 'as a = "integer";'),
        ("a = 'integer", "A text is not closed with the quotes that opened it."),
        ('a = "integer', 'It reads: a = "integer (the text is not closed with the quotes that opened it).'),
        ('a = ["integer"', "A list is not closed."),
        ("a = .8", "It reads: a = .8 (a number has a digit on both sides of its point and no zero before others"),
        ("a = 007", "a number has a digit on both sides of its point and no zero before others, as 0.8 or 7"),
        ('a: "integer"', 'It reads: a: "integer" (a line has the form name = value;'),
        ("a = true", "a = True must be one of categorical, integer"),
        ('a = "true"', "kind 'true' does not exist"),
    ],
)
def test_what_toml_takes_otherwise_than_meant_is_said_with_its_mend(tmp_path, line, message):
    with pytest.raises(ConfigError) as caught:
        write_card(tmp_path, CARD.replace('age = "integer"\n', f'age = "integer"\n{line}\n'))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('header = "true"', "header = 'true' must be true or false, without quotes"),
        ('files = "a.csv"', "files = 'a.csv' must be a list in brackets"),
        ("label_rule = 4", "label_rule = 4 must be text in quotes"),
    ],
)
def test_a_value_of_another_type_is_said_with_the_one_that_is_wanted(tmp_path, line, message):
    with pytest.raises(ConfigError, match=message):
        write_card(tmp_path, CARD.replace("[raw.columns]", f"[raw]\n{line}\n[raw.columns]"))


def test_a_card_may_begin_with_a_byte_order_mark_and_must_be_utf8(tmp_path):
    (tmp_path / "own.toml").write_bytes(CARD.encode("utf-8-sig"))
    assert load_card(tmp_path / "own.toml").name == "mine"
    (tmp_path / "own.toml").write_bytes(CARD.replace("mine", "é").encode("latin-1"))
    with pytest.raises(ConfigError, match=r"own.toml: byte \d+ is not UTF-8 text; save the file as UTF-8"):
        load_card(tmp_path / "own.toml")


def test_a_card_of_ones_own_by_path(tmp_path):
    write_card(tmp_path, CARD)
    card = resolve_dataset(f"{tmp_path}/own.toml[min_count=3]")
    assert (card.name, card.min_count, card.spec) == ("mine", 3, "mine[min_count=3]")
    assert card.typed_spec == f"{tmp_path}/own.toml[min_count=3]"
    write_card(tmp_path, CARD.replace("mine", "criteo"))
    with pytest.raises(ConfigError, match=r"'criteo' is the name of another data set; choose your own"):
        resolve_dataset(f"{tmp_path}/own.toml")


def test_declared_parameters_of_a_generated_card(tmp_path):
    text = """
    name = "made"
    generator = "module:make"
    [params]
    rows = { default = 100, min = 10, max = 1000 }
    rate = 0.5
    shape = { default = "flat", choices = ["flat", "steep"] }
    """
    card = write_card(tmp_path, text, rows="20", rate="1", shape="steep")
    every = {"min_count": 1, "split_seed": 0, "split": "random"}
    assert card.params == every | {"rows": 20, "rate": 1.0, "shape": "steep"}
    assert card.overrides == {"rows": 20, "rate": 1.0, "shape": "steep"}
    for given, message in [
        ({"rows": "9"}, r"rows=9 is out of range; allowed: \[10, 1000\]"),
        ({"rows": "1.5"}, "rows=1.5 is not of type int"),
        ({"shape": "round"}, "shape=round is not allowed; choose one of flat, steep"),
    ]:
        with pytest.raises(ConfigError, match=message):
            write_card(tmp_path, text, **given)


def test_the_definition_changes_with_what_decides_the_store_and_with_nothing_else(tmp_path):
    first = write_card(tmp_path, CARD).definition
    assert write_card(tmp_path, CARD + "\n[l2]\nanchor = 0.1").definition == first
    assert write_card(tmp_path, CARD.replace("integer", "categorical")).definition != first
    assert write_card(tmp_path, CARD + "\n[split]\ntrain = 0.7\nvalid = 0.2").definition != first


def own_path():
    return "/somewhere/else.toml"


def test_a_plug_in_names_its_card_by_a_callable():
    assert str(card_path(DatasetEntry("test_card:own_path", "Own"))) == "/somewhere/else.toml"
    with pytest.raises(
        ConfigError, match=r"plug-in 'test_card:nothing' gives no card: AttributeError.*Mend or remove it"
    ):
        card_path(DatasetEntry("test_card:nothing", "Own"))


def test_cards_are_listed_without_pyarrow_and_torch():
    code = "import sys, bench.datasets as d; d.datasets(); d.resolve_dataset('criteo'); import bench.cli.prepare; "
    code += "sys.exit(bool({'torch', 'pyarrow', 'pandas', 'rich.progress'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=card_path(TABLE["criteo"]).parents[2])


def test_shares_of_the_splits_can_be_given() -> None:
    card = resolve_dataset("avazu[shares=70:20:10]")
    assert card.shares == (0.7, 0.2, 0.1)
    assert card.definition != resolve_dataset("avazu").definition
    assert card.key != "avazu"
    assert "shares" not in resolve_dataset("avazu").params  # older stores do not know it


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("avazu[shares=0.7:0.2:0.1]", "must be train:valid:test in whole numbers, as 70:20:10"),
        ("avazu[shares=70:30]", "must be train:valid:test"),
        ("avazu[shares=70:30:0]", "must be train:valid:test"),
        ("aliccp[shares=70:20:10]", "the card's test rows have files of their own"),
        ("planted[shares=70:20:10]", "no parameter 'shares'"),
    ],
)
def test_shares_that_cannot_be_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_dataset(spec)
