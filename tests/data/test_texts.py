from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.raw.columns import code_numbers
from bench.data.raw.texts import as_texts, pack, unpack, whole_numbers

SHORT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8).filter(
    lambda text: len(text.encode()) <= 8
)


@given(st.lists(SHORT, max_size=30))
def test_short_texts_keep_their_order_and_come_back(texts):
    for kind in (pa.string(), pa.large_string()):
        numbers = pack(pa.array(texts, type=kind))
        assert numbers.type == pa.uint64()
        assert unpack(np.asarray(numbers)).to_pylist() == texts
        assert as_texts(numbers).equals(pa.array(texts, type=pa.large_string()))
    expected = [int.from_bytes(text.encode().ljust(8, b"\0"), "big") for text in texts]
    assert numbers.to_pylist() == expected
    by_text = sorted(range(len(texts)), key=lambda i: texts[i].encode())
    assert by_text == sorted(range(len(texts)), key=lambda i: expected[i])


@pytest.mark.parametrize("text", ["a\0", "\0", "123456789", "éééée"])
def test_a_text_without_a_number_leaves_all_of_them_texts(text):
    values = pack(pa.array(["a", text]))
    assert values.type == pa.large_string() and values.to_pylist() == ["a", text]


def test_a_part_of_an_array_and_an_empty_one():
    whole = pa.array(["a", "bc", "", "def", "g"])
    assert unpack(np.asarray(pack(whole.slice(1, 3)))).to_pylist() == ["bc", "", "def"]
    assert pack(whole.slice(0, 0)).type == pa.uint64()
    assert pack(pa.array([1, 2])).type == pa.int64(), "other values stay what they are"


@given(st.lists(st.integers(-(10**7) + 1, 10**8 - 1), max_size=20), st.integers(0, 3))
def test_whole_numbers(values, zeros):
    texts = [f"{value:0{zeros}d}" for value in values]
    assert whole_numbers(np.asarray(pack(pa.array(texts, type=pa.string())))).tolist() == values


@pytest.mark.parametrize("text", ["", "-", "+5", " 5", "5 ", "1.5", "--5", "5-", "1e3", "é", "a", "/", ":"])
def test_what_is_no_whole_number_is_left_to_the_parser(text):
    assert whole_numbers(np.asarray(pack(pa.array(["1", text])))) is None


@pytest.mark.parametrize("missing", [[], [4], [-1, 4]])
@given(numbers=st.lists(st.integers(-2, 5), max_size=40))
def test_codes_of_numbers(missing, numbers):
    codes, distinct = code_numbers(np.array([*missing, *numbers], dtype=np.int64), len(missing))
    assert distinct.tolist() == list(dict.fromkeys(n for n in numbers if n not in missing))
    values = [None, *distinct.tolist()]
    assert [values[code] for code in codes] == [None if n in missing else n for n in numbers]


def test_codes_take_no_more_bytes_than_they_need():
    widths = [code_numbers(np.arange(n), n_missing=0)[0].dtype for n in (255, 256, 65_535, 65_536)]
    assert widths == [np.uint8, np.uint16, np.uint16, np.uint32]
