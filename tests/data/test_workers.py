"""Preparation by several processes: the bytes, the notes and the errors are those of one; and how it ends early."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import random
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_reference import criteo_lines, manifest_of, write_card

from bench.data.card.card import DatasetCard
from bench.data.prepare.prepare import Settings, prepare
from bench.data.prepare.workers import Workers
from bench.errors import ConfigError, DataError

CARD = """
name = "clicks"
{more}
[raw]
{raw}
[raw.columns]
clicked = "label"
user = "categorical"
tags = {{ kind = "categorical", multi = "mean", positions = 2, separator = "|" }}
price = "numeric"
age = "integer"
at = {{ kind = "time", format = "iso", parts = {{ hour = "hour" }} }}
"""
ROWS = 600


def table(seed: int = 0, rows: int = ROWS) -> list[dict[str, Any]]:
    """Rows with missing values, long texts in the middle, lists and times."""
    draw = random.Random(seed)
    return [
        {
            "clicked": int(draw.random() < 0.4),
            "user": draw.choice(["", "a", "bb", "née", f"somebody {draw.randrange(60)}"]),
            "tags": "|".join(draw.choices("xyz", k=draw.randrange(4))),
            "price": "" if draw.random() < 0.1 else f"{draw.gauss(0, 3):.3f}",
            "age": "" if draw.random() < 0.1 else str(draw.randrange(90)),
            "at": f"2024-03-{draw.randrange(1, 29):02d} {draw.randrange(24):02d}:00:00",
        }
        for _ in range(rows)
    ]


def text(rows: list[dict[str, Any]], end: str = "\n") -> bytes:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return (end.join(lines) + end).encode()


def card(folder: Path, more: str = "", raw: str = "", **params: str) -> DatasetCard:
    return write_card(folder, CARD.format(more=more, raw=raw), **params)


def plain(folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_bytes(text(table()))
    return path


def with_marks(folder: Path) -> Path:
    """A byte-order mark, CR LF, and blank lines at the end."""
    path = folder / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text(table(), "\r\n") + b"\r\n\r\n")
    return path


def packed(folder: Path) -> Path:
    path = folder / "t.csv.gz"
    path.write_bytes(gzip.compress(text(table())))
    return path


def with_line_ends_in_values(folder: Path) -> Path:
    path = folder / "t.csv"
    rows = [row | {"user": '"over\n\nlines"'} if number % 7 == 3 else row for number, row in enumerate(table())]
    path.write_bytes(text(rows))
    return path


def parts(folder: Path) -> Path:
    """Text, packed text and no table, in folders that give no column."""
    (folder / "parts").mkdir()
    for number in range(5):
        content = text(table(number, 90 + number))
        name, data = (f"p{number}.csv", content) if number % 2 else (f"p{number}.csv.gz", gzip.compress(content))
        (folder / "parts" / name).write_bytes(data)
    return folder / "parts"


def of_parquet(folder: Path) -> Path:
    for day in range(3):
        place = folder / "days" / f"age={day + 20}"
        place.mkdir(parents=True)
        rows = table(day, 150)
        columns = {name: [row[name] or None for row in rows] for name in rows[0] if name != "age"}
        columns["clicked"] = [row["clicked"] for row in rows]
        columns["tags"] = [row["tags"].split("|") if row["tags"] else None for row in rows]
        pq.write_table(pa.table(columns), place / "part.parquet", row_group_size=40)
    return folder / "days"


WAYS = {
    "plain": (plain, {}, {}),
    "marks": (with_marks, {}, {}),
    "packed": (packed, {}, {}),
    "lines in values": (with_line_ends_in_values, {"raw": "newlines_in_values = true"}, {}),
    "parts": (parts, {"raw": "join = true"}, {}),
    "parquet": (of_parquet, {}, {}),
    "rows": (plain, {}, {"rows": "200"}),
    "share": (parts, {"raw": "join = true"}, {"sample": "0.5"}),
    "in time": (parts, {"raw": "join = true", "more": '[time]\ncolumn = "at"'}, {"split": "temporal"}),
    "groups": (plain, {"more": '[split]\ngroup = "user"'}, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_processes_make_the_store_that_one_makes(tmp_path: Path, way: str) -> None:
    write, keys, params = WAYS[way]
    raw, mine = write(tmp_path), card(tmp_path, **keys, **params)  # type: ignore[arg-type]
    found = []
    for count in (1, 2):
        work = Settings(chunk_bytes=3000, workers=Workers(count))
        store = prepare(mine, raw, tmp_path / "data" / f"of-{count}", settings=work)
        found.append(manifest_of(store) | {"created": ""})
        found[-1]["on disk"] = {
            path.name: path.read_bytes() for path in store.iterdir() if path.name in found[-1]["files"]
        }
        assert len(found[-1]["on disk"]) == len(list(store.iterdir())) - 1, "nothing is left but the store's files"
    assert found[0] == found[1]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["of-1", "of-2"]


@pytest.mark.parametrize(
    ("bad", "row"),
    [({"clicked": "maybe"}, 577), ({"price": "dear"}, 401), ({"at": "tomorrow"}, 12), ({"age": "a,b"}, 599)],
)
def test_processes_name_the_line_that_one_names(tmp_path: Path, bad: dict[str, str], row: int) -> None:
    rows = table()
    rows[row] |= bad
    (tmp_path / "t.csv").write_bytes(text(rows))
    told = []
    for count in (1, 3):
        with pytest.raises(DataError) as raised:
            work = Settings(chunk_bytes=2000, workers=Workers(count))
            prepare(card(tmp_path), tmp_path / "t.csv", tmp_path / "data" / "out", settings=work)
        told.append(str(raised.value))
    assert told[0] == told[1]
    assert f"line {row + 2}" in told[0]
    assert list((tmp_path / "data").iterdir()) == []


def test_an_extreme_number_is_found_on_its_line(tmp_path: Path) -> None:
    rows = table()
    rows[444] |= {"price": "1e300"}
    (tmp_path / "t.csv").write_bytes(text(rows))
    with pytest.raises(DataError, match=r"t\.csv: line 446, column 'price'"):
        work = Settings(chunk_bytes=2000, workers=Workers(2))
        prepare(card(tmp_path), tmp_path / "t.csv", tmp_path / "out", settings=work)


def children() -> set[int]:
    return {int(child.pid or 0) for child in multiprocessing.active_children()}


def test_a_killed_worker_ends_the_command_and_leaves_nothing(tmp_path: Path) -> None:
    raw = plain(tmp_path)
    before = children()

    def kill(progress: Any) -> None:
        for worker in children() - before:
            os.kill(worker, signal.SIGKILL)

    with pytest.raises(DataError, match="one of 2 worker processes was ended from outside, most likely for lack of"):
        work = Settings(chunk_bytes=300, workers=Workers(2))
        prepare(card(tmp_path), raw, tmp_path / "data" / "out", progress=kill, settings=work)
    assert list((tmp_path / "data").iterdir()) == []
    assert children() <= before


@pytest.mark.parametrize("phase", ["read", "count", "write"])
def test_an_interrupted_command_ends_its_workers_and_leaves_nothing(tmp_path: Path, phase: str) -> None:
    raw = plain(tmp_path)
    before = children()

    def interrupt(progress: Any) -> None:
        if progress.phase == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work = Settings(chunk_bytes=300, workers=Workers(2))
        prepare(card(tmp_path), raw, tmp_path / "data" / "out", progress=interrupt, settings=work)
    assert list((tmp_path / "data").iterdir()) == []
    assert children() <= before


@pytest.mark.parametrize(
    ("text", "address", "message"),
    [
        ("0", None, "--workers 0: write how many processes read the raw data, 1 to 256, or ray, or ray:N"),
        ("-2", None, "--workers -2: write how many"),
        ("two", None, "--workers two: write how many"),
        ("257", None, "1 to 256"),
        ("ray:x", None, "--workers ray:x: write"),
        ("rays", None, "--workers rays: write"),
        ("2", "a:1", "--address a:1 says nothing to --workers 2: it is for ray"),
    ],
)
def test_workers_that_are_none_are_refused(text: str, address: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Workers.read(text, address)


def test_generated_rows_take_no_workers(bench: Any) -> None:
    done = bench("prepare", "planted[rows=300]", "--workers", "2")
    assert done.code == 2
    assert "--workers 2: data set 'planted[rows=300]' is generated by the threads of one process" in done.err


def test_the_command_takes_workers(bench: Any, tmp_path: Path) -> None:
    raw = tmp_path / "train.txt"
    raw.write_text("\n".join(criteo_lines(300)))
    made = []
    for number in ("1", "2"):
        done = bench(
            "prepare", "criteo", "--raw", str(raw), "--force", "--workers", number, "--data-dir", str(tmp_path)
        )
        assert done.code == 0, done.err
        made.append(manifest_of(tmp_path / "criteo")["files"])
    assert made[0] == made[1]
