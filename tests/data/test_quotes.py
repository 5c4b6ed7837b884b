"""Quotes, escapes and line ends: what Python's csv writes is read back, what it could not have written is refused."""

from __future__ import annotations

import csv
import io
import random
import re

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_reference import manifest_of, write_card
from text_tables import layout_of, read_rows

from bench.data.prepare.prepare import Settings, prepare
from bench.data.raw import chunks as chunk_module
from bench.data.raw import dialect as dialect_module
from bench.errors import DataError

CARD = """
name = "mine"
[raw.columns]
y = "label"
c = "categorical"
d = "categorical"
"""
SPANNING = CARD.replace("[raw.columns]", "[raw]\nnewlines_in_values = true\n[raw.columns]")


LETTERS = st.one_of(
    st.sampled_from(['"', '""', "\n", "\r", "\r\n", ",", ";", "\t", "|", "::", "a", " ", "\\", "é", "0x1", "本"]),
    st.characters(exclude_categories=["Cs"], exclude_characters="\x1f"),
)
VALUE = st.lists(LETTERS, max_size=6).map("".join)
TABLES = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(VALUE, min_size=n, max_size=n), min_size=1, max_size=12).map(lambda rows: (n, rows))
)


@settings(max_examples=150, deadline=None)
@given(
    table=TABLES,
    delimiter=st.sampled_from([",", ";", "\t", "|", "¦"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    escape=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    chunk_bytes=st.sampled_from([64, 65, 100, 257, 1 << 20]),
    threads=st.integers(1, 4),
)
def test_what_csv_writes_is_read_back(  # noqa: PLR0917 - one for each that may vary
    table, delimiter, quoting, line_end, escape, encoding, chunk_bytes, threads
):
    n_columns, rows = table
    written = {"delimiter": delimiter, "doublequote": not escape, "escapechar": "\\" if escape else None}
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator=line_end, **written).writerows(rows)
    text = out.getvalue()
    if n_columns == 1 and any(row == [""] for row in rows) and quoting == csv.QUOTE_MINIMAL:
        text = text.replace(f"{line_end}{line_end}", f'{line_end}""{line_end}')
    if list(csv.reader(io.StringIO(text, newline=""), **written)) != rows:
        return  # csv does not read back a lone backslash outside quotes, nor every lone carriage return
    layout = layout_of(
        n_columns,
        delimiter=delimiter,
        header=False,
        escape="\\" if escape else "",
        newlines_in_values=True,
        encoding=encoding,
    )
    found, lines = read_rows(text.encode(encoding), layout, chunk_bytes, threads)
    assert found == rows
    places = [0]
    for row in rows[:-1]:
        one = io.StringIO()
        csv.writer(one, quoting=quoting, lineterminator=line_end, **written).writerow(row)
        places.append(places[-1] + one.getvalue().count("\n"))
    assert lines == [1 + place for place in places]


def plain_rows(text, may_span):  # noqa: C901, PLR0912 - a branch a rule
    """Rows by RFC 4180, byte after byte: rows, the line of each, and the line of the first fault or None.

    On one line, text behind a quote that closes right behind a delimiter is read on, as csv does.
    """
    rows, lines, row, value, line, begun = [], [], [], "", 1, 1
    state, opened = "start", 1
    for place, letter in enumerate(text):
        ahead = text[place + 1 : place + 2]
        if state == "quoted" and letter != '"':
            value += letter
            if letter == "\n":
                if not may_span:
                    return rows, lines, opened
                line += 1
        elif state == "quoted" and ahead == '"':
            value, state = value + '"', "doubled"
        elif state == "doubled":
            state = "quoted"
        elif state == "quoted":
            state = "closed"
            stop = ahead in ("", ",", "\n") or (ahead == "\r" and text[place + 2 : place + 3] in ("", "\n"))
            if not stop and (may_span or text[place - 1] not in ",\n"):
                return rows, lines, opened
        elif letter == '"' and state == "start":
            state, opened = "quoted", line
        elif letter == ",":
            row, value, state = [*row, value], "", "start"
        elif letter == "\n":
            if state == "start" and not row:
                return rows, lines, line
            rows.append([*row, value])
            lines.append(begun)
            line += 1
            row, value, state, begun = [], "", "start", line
        elif letter == "\r" and ahead == "\n":
            pass
        elif letter == "\r":
            return rows, lines, line
        else:
            value, state = value + letter, "inside"
    return rows, lines, opened if state in ("quoted", "doubled") else None


def expected_rows(text, may_span, n_columns):
    """The rows and their lines, and the lines of which one may be called faulty."""
    text = re.sub(r"(\r?\n)(\r?\n)*\Z", r"\1", text.removesuffix("\r"))
    text += "" if text.endswith(("\n", "\r")) else "\n"
    rows, lines, fault = plain_rows(text, may_span)
    faults = [line for row, line in zip(rows, lines, strict=True) if len(row) != n_columns][:1]
    return rows, lines, faults + ([] if fault is None else [fault])


SMALL = st.lists(st.sampled_from(['"', '"', ",", "\n", "\r", "\r\n", "a", "b,c\n", '"d",e\n', ',"f\n']), max_size=14)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pieces=SMALL, may_span=st.booleans(), chunk_bytes=st.sampled_from([1, 3, 64, 1 << 20]), at_once=st.integers(1, 9)
)
def test_any_text_is_read_by_the_rules_or_its_first_fault_is_named(pieces, may_span, chunk_bytes, at_once):
    text = "b,c\n" + "".join(pieces)
    rows, lines, faults = expected_rows(text, may_span, 2)
    layout = layout_of(2, header=False, newlines_in_values=may_span)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialect_module, "PIECE_BYTES", at_once)
        try:
            found = read_rows(text.encode(), layout, chunk_bytes)
        except DataError as error:
            assert re.match("rows: line ([0-9]+) ", str(error))[1] in map(str, faults), text
        else:
            assert (found, faults) == ((rows, lines), []), text


def swallowing(n, faults):
    """A CSV of ``n`` rows under a header, ``faults`` replacing the values of column c in some."""
    lines = ["y,c,d"] + [f"{row % 2},{faults.get(row, f'v{row % 5}')},w{row % 3}" for row in range(n)]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("chunk_bytes", [64, 1 << 20])
@pytest.mark.parametrize(
    ("faults", "line"),
    [
        ({69: '"12 inch pan'}, 71),
        ({19: '"12 inch', 69: '"12 inch'}, 21),
        ({19: '"12 inch', 69: 'pan 12"'}, 21),  # python's csv finds 50 rows here
        ({99: '"12 inch pan'}, 101),
        ({69: '"the \\"best\\" shoe"'}, 71),
        ({69: '"12" pan'}, 71),
    ],
)
def test_a_stray_quote_swallows_no_row(tmp_path, faults, line, chunk_bytes):
    (tmp_path / "t.csv").write_bytes(swallowing(100, faults))
    card = write_card(tmp_path, CARD)
    with pytest.raises(DataError, match=f"t.csv: line {line} "):
        prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=Settings(chunk_bytes=chunk_bytes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("chunk_bytes", [64, 1 << 20])
def test_rows_between_two_stray_quotes_are_noted_where_values_may_hold_line_ends(tmp_path, chunk_bytes):
    """They are one value by every rule; what they are, only a person can tell."""
    (tmp_path / "t.csv").write_bytes(swallowing(100, {19: '"12 inch', 69: 'pan 12"'}))
    work = Settings(chunk_bytes=chunk_bytes)
    store = prepare(write_card(tmp_path, SPANNING), tmp_path / "t.csv", tmp_path / "out", settings=work)
    (note,) = manifest_of(store)["notes"]
    assert note.startswith("t.csv: 1 row runs over several lines, the longest over 51 from line 21 on; if that is")


@pytest.mark.parametrize("chunk_bytes", [64, 1 << 20])
@pytest.mark.parametrize("faults", [{69: '12" pan'}, {69: 'pan 12"', 70: 'a"b"c'}, {69: ' "pan"'}])
def test_a_quote_inside_a_value_is_a_letter(tmp_path, faults, chunk_bytes):
    (tmp_path / "t.csv").write_bytes(swallowing(100, faults))
    card = write_card(tmp_path, CARD)
    store = prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=Settings(chunk_bytes=chunk_bytes))
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert manifest_of(store)["n_rows"] == len(rows) == 100
    assert {row[1] for row in rows} == {f"v{i}" for i in range(5)} | set(faults.values())


@pytest.mark.parametrize("chunk_bytes", [64, 1000, 1 << 20])
@pytest.mark.parametrize("threads", [1, 4])
def test_line_ends_inside_quotes_make_no_rows(tmp_path, chunk_bytes, threads):
    """Everywhere a chunk may end, as in a file of 62 MB."""
    n = 600
    lines = ["y,c,d"] + [f'{row % 2},"first {row % 5}\nsecond, {row % 5}",w' for row in range(n)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    card = write_card(tmp_path, SPANNING)
    settings = Settings(chunk_bytes=chunk_bytes, threads=threads)
    store = prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=settings)
    assert manifest_of(store)["n_rows"] == n
    (note,) = manifest_of(store)["notes"]
    assert note.startswith("t.csv: 600 rows run over several lines, the longest over 2 from line 2 on; if that is")
    values = [f"first {i}\nsecond, {i}" for i in range(5)]
    found = pq.read_table(store / "vocabulary.parquet").to_pylist()
    assert [row["value"] for row in found if row["field"] == "c"] == [None, None, *values]
    lines[200] = '1,"never closed,w'
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="line 400 opens a quote that runs on for 1 line and then has text behind it"):
        prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=settings)


def faulty_table(rng):
    """A CSV with a fault or two, as hands and programs make them."""
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=rng.choice(["\n", "\r\n"]))
    writer.writerow(["y", "c", "d"])
    for row in range(rng.randrange(20, 60)):
        writer.writerow([row % 2, rng.choice(["a", 'say "hi"', "b,c", "", "12 inch"]), rng.choice(["x", "y z", '"'])])
    text = out.getvalue()
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(6, len(text))
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:place] + rng.choice(['"', '""', "\r", "\n", ",", '"\n', '\\"', "\x00"]) + text[place:]
        elif kind == 1:
            text = text[:place] + text[place + rng.randrange(1, 8) :]
        elif kind == 2:
            text = text[:place]
        elif kind == 3:
            text = text.replace('"', "", 1)
        else:
            text += rng.choice(['1,"', "\n\n", "1,2", '"'])
    return text


@pytest.mark.parametrize("may_span", [False, True])
def test_rows_of_faulty_files_are_those_of_csv_or_a_line_is_named(tmp_path, may_span):
    card = write_card(
        tmp_path, CARD.replace("[raw.columns]", f"[raw]\nnewlines_in_values = {str(may_span).lower()}\n[raw.columns]")
    )
    read = refused = 0
    for seed in range(50):
        path = tmp_path / "t.csv"
        path.write_text(faulty_table(random.Random(seed)), newline="")
        try:
            store = prepare(card, path, tmp_path / "out", settings=Settings(chunk_bytes=300))
        except DataError as error:
            assert re.search(r"line \d+|the header", str(error)), (seed, error)
            refused += 1
        else:
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
            while not rows[-1]:
                rows.pop()
            assert manifest_of(store)["n_rows"] == len(rows) - 1, seed
            read += 1
    assert read >= 4 and refused >= 10


def test_a_quote_that_is_never_closed_in_a_long_file(tmp_path, monkeypatch):
    monkeypatch.setattr(chunk_module, "LONGEST_ROW", 2000)
    (tmp_path / "t.csv").write_bytes(swallowing(1000, {69: '"12 inch pan'}))
    with pytest.raises(DataError, match="line 71 opens a quote that is never closed; close it"):
        prepare(write_card(tmp_path, SPANNING), tmp_path / "t.csv", tmp_path / "out", settings=Settings(chunk_bytes=64))
