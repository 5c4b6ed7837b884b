from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.params import Only, Range, Spec, fill, parse_spec, split_outside


@dataclass(frozen=True)
class Params:
    rate: Annotated[float, Range(0, 1, open_low=True)] = 0.1
    rows: Annotated[int, Range(10)] = 100
    mode: Literal["hard", "soft"] = "hard"
    fresh: bool = False
    share: Annotated[float, Range(0, 0.5)] | None = None
    sizes: Annotated[tuple[int, ...], Range(1)] = (4, 2)
    mean: float = 0.5
    keep: Annotated[int, Range(1)] | Literal["auto", "half"] = "auto"
    depth: Annotated[int, Range(1), Only(mode=("soft", "both"), fresh=True)] = 3

    def __post_init__(self) -> None:
        if self.rows == 13:
            raise ValueError("rows=13 brings bad luck; use 14")


@pytest.mark.parametrize(
    ("text", "name", "given", "label"),
    [
        ("lasso", "lasso", {}, "lasso"),
        (" lasso[]", "lasso", {}, "lasso"),
        ("lasso[b=x, a = 1]", "lasso", {"a": "1", "b": "x"}, "lasso[a=1,b=x]"),
        ("card.toml[rows=5]", "card.toml", {"rows": "5"}, "card.toml[rows=5]"),
    ],
)
def test_specs_are_read(text: str, name: str, given: dict[str, str], label: str) -> None:
    spec = parse_spec(text)
    assert spec == Spec(name, given)
    assert spec.label == label
    assert parse_spec(label) == spec


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": "4"}, "m: depth=4 has no part in mode=hard; leave it out, or set mode=soft or both."),
        ({"depth": "4", "mode": "soft"}, "m: depth=4 has no part in fresh=false; leave it out, or set fresh=true."),
    ],
)
def test_a_parameter_is_refused_where_it_has_no_part(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fill(Params, given, "m")
    assert str(caught.value) == message


def test_a_parameter_is_taken_where_it_has_a_part_or_changes_nothing() -> None:
    assert fill(Params, {"depth": "4", "mode": "soft", "fresh": "true"}, "m").depth == 4
    assert fill(Params, {"depth": "3"}, "m") == Params()


@pytest.mark.parametrize("text", ["a[b=1", "[b=1]", "a[b]", "a[b=]", "a[=1]", "a[b=1]c", "a[b=1,b=2]"])
def test_specs_of_another_form_are_refused_with_the_text(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_spec(text)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "1", 1.0),
        ("rate", "1e-3", 1e-3),
        ("rows", "10", 10),
        ("mode", "soft", "soft"),
        ("fresh", "True", True),
        ("fresh", "false", False),
        ("share", "none", None),
        ("share", "0", 0.0),
        ("sizes", "8", (8,)),
        ("sizes", "8-16-1", (8, 16, 1)),
        ("mean", "-2.5", -2.5),
        ("keep", "3", 3),
        ("keep", "half", "half"),
    ],
)
def test_values_are_converted_to_the_annotated_type(name: str, text: str, value: object) -> None:
    found = getattr(fill(Params, {name: text}, "lasso"), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("rate", "0", "(0, 1]"),
        ("rate", "1.5", "(0, 1]"),
        ("rate", "-1", "(0, 1]"),
        ("rate", "nan", "finite"),
        ("rate", "fast", "float"),
        ("rows", "9", "[10, inf)"),
        ("rows", "1.5", "int"),
        ("mode", "medium", "hard, soft"),
        ("fresh", "1", "true or false"),
        ("share", "0.6", "[0, 0.5]"),
        ("sizes", "4-0", "[1, inf)"),
        ("sizes", "4-x", "int"),
        ("mean", "inf", "finite"),
        ("keep", "none", "is not of type int; and it is not allowed; choose one of auto, half."),
        ("keep", "0", "is out of range; allowed: [1, inf); and it is not allowed; choose one of auto, half."),
    ],
)
def test_values_that_do_not_fit_are_refused_by_owner_name_value_and_mend(name: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fill(Params, {name: text}, "lasso")
    message = str(caught.value)
    assert f"lasso: {name}={text}" in message
    assert allowed in message


def test_unknown_parameters_are_refused_with_the_near_one_and_all() -> None:
    with pytest.raises(ConfigError) as caught:
        fill(Params, {"rowz": "5"}, "lasso")
    message = str(caught.value)
    assert "lasso has no parameter 'rowz' (value '5')" in message
    assert "Did you mean 'rows'?" in message
    assert "rate, rows, mode, fresh, share, sizes, mean, keep" in message


def test_what_the_dataclass_itself_refuses_names_the_owner() -> None:
    with pytest.raises(ConfigError, match="lasso: rows=13 brings bad luck; use 14"):
        fill(Params, {"rows": "13"}, "lasso")


def test_given_values_go_over_a_base() -> None:
    base = Params(rate=0.7, rows=50)
    assert fill(Params, {"rows": "60"}, "lasso", base=base) == Params(rate=0.7, rows=60)


@given(st.floats(allow_nan=False), st.floats(-5, 5), st.floats(-5, 5), st.booleans(), st.booleans())
def test_ranges_hold_what_their_text_says(
    value: float, low: float, high: float, open_low: bool, open_high: bool
) -> None:
    limits = Range(low, high, open_low, open_high)
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    assert (value in limits) is (above and below)
    assert str(limits)[0] == "(["[not open_low]
    assert str(limits)[-1] == ")]"[not open_high]


def test_a_range_without_ends_prints_infinities() -> None:
    assert str(Range()) == "(-inf, inf)"
    assert 1e300 in Range()


def test_a_value_may_have_brackets_and_parameters_of_its_own() -> None:
    spec = parse_spec("outer[b=inner[x=1,y=z[q=2,r=3]],a=2]")
    assert spec.given == {"b": "inner[x=1,y=z[q=2,r=3]]", "a": "2"}
    assert parse_spec(spec.label) == spec


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a+b[c=1+2]+d", ["a", "b[c=1+2]", "d"]),
        ("a", ["a"]),
        ("", [""]),
        ("a+", ["a", ""]),
        ("a]+b", ["a]", "b"]),
    ],
)
def test_a_text_is_split_outside_of_brackets(text: str, parts: list[str]) -> None:
    assert split_outside(text, "+") == parts
