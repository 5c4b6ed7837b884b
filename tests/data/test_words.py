from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.raw import words
from bench.data.raw.scratch import Scratch
from bench.data.raw.words import split_words

TAB = ord("\t")
VALUE = st.text(st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), max_size=12)


def first_bytes(text: str) -> int:
    return int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "little")


ROWS = st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(VALUE, min_size=n, max_size=n), min_size=1, max_size=20))


@given(rows=ROWS)
@pytest.mark.parametrize("last_end", ["\n", ""])
@pytest.mark.parametrize("at_once", [1, 30, 1 << 19])
def test_values_of_complete_rows(last_end, at_once, rows):
    text = "\n".join("\t".join(row) for row in rows) + last_end
    if text.endswith("\n") and not last_end:
        return  # the last row is empty, and without its line end it is no row
    if not text:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_PIECE_BYTES", at_once)
        patch.setattr(words, "_PIECE_ROWS", 0)
        patch.setattr(words, "_COLUMNS_AT_ONCE", 2)
        found = split_words(text.encode(), TAB, (len(rows), len(rows[0])))
    assert found is not None
    assert found.numbers.T.tolist() == [[first_bytes(value) for value in row] for row in rows]
    assert found.longest.tolist() == [
        max(len(value.encode()) for value in column) for column in zip(*rows, strict=True)
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"a\tb\nc\n",
        b"a\tb\nc\td\te\n",
        b"a\n",
        b"a\tb\tc\nd\n",  # as many values as two whole rows have
        b"a\nb\tc\td\n",
        b"a\tb\n\nc\td\n",
        b"a\0\tb\n",
        b"a\t\xff\n",
    ],
)
def test_what_is_not_understood_in_full_is_left_to_the_parser(data):
    assert split_words(data, TAB, (data.count(b"\n"), 2)) is None


@pytest.mark.parametrize("at_once", [1, 9, 1 << 19])
def test_a_bad_row_in_any_piece_is_noticed(monkeypatch, at_once):
    monkeypatch.setattr(words, "_PIECE_BYTES", at_once)
    monkeypatch.setattr(words, "_PIECE_ROWS", 0)
    good = b"abc\tde\n" * 20
    assert split_words(good, TAB, (20, 2)) is not None
    for bad in (b"a\n", b"a\tb\tc\n", b"\n"):
        assert split_words(good + bad + good, TAB, (41, 2)) is None


def test_memory_used_again_holds_the_last_text_alone():
    scratch = Scratch()
    for text, shape in ((b"abcdefgh\ti\nj\tk\n", (2, 2)), (b"l\n", (1, 1)), (b"m\tn\to\np\t\tq\nr\ts\tt\n", (3, 3))):
        found, alone = split_words(text, TAB, shape, scratch), split_words(text, TAB, shape)
        assert found is not None and alone is not None
        assert found.numbers.tolist() == alone.numbers.tolist()
        behind = split_words(text, TAB, shape, scratch, front=[3, 5])
        assert behind is not None
        assert behind.numbers.tolist() == [[3, 5, *column] for column in alone.numbers.tolist()]
