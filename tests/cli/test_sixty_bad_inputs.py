"""A table of bad inputs, each with its command and what is said: status 2, one message, no traceback, nothing half.

To add a row, add a ``Bad`` to ``TABLE``: the command, parts of the message, and what must lie in the folder before.
``data`` is a folder with the store of TINY, ``done`` a run folder with one cell; each test works on copies. The table
as it came out is written to ``bad-inputs.md`` in pytest's temporary folder.
"""

from __future__ import annotations

import bz2
import io
import json
import lzma
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from cell_records import TINY
from pyarrow import parquet as pq

from bench.cli import main
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset

Bench = Callable[..., Any]
RUN = ("run", "--datasets", TINY, "--data-dir", "data", "--methods", "random-k", "--backbones", "dnn[mlp=4]")
RUN = (*RUN, "--epochs", "1", "--seeds", "1", "--prune-ratio", "0.5", "--out", "x")
AGAIN = (*RUN[:-1], "done")
OWN = ("prepare", "my.toml", "--raw", "my.csv", "--data-dir", "new")
CARD = 'name = "my"\n[raw.columns]\ny = "label"\na = "categorical"\nn = "numeric"\n'
ROWS = "y,a,n\n" + "".join(f"{i % 2},{i % 5},{i}\n" for i in range(200))
STORE = store_folder(Path("data"), resolve_dataset(TINY))


@dataclass(frozen=True)
class Bad:
    """One row of the table."""

    argv: tuple[str, ...]
    parts: tuple[str, ...]
    """Of the message."""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    """Contents by path."""
    before: Callable[[], object] = lambda: None
    """Called in the folder before the command."""


def run(*flags: str, says: tuple[str, ...]) -> Bad:
    return Bad((*RUN, *flags), says)


def own(says: tuple[str, ...], card: str = CARD, rows: str | bytes = ROWS) -> Bad:
    """A table of one's own that cannot be prepared."""
    return Bad(OWN, says, {"my.toml": card, "my.csv": rows})


def keyed(keys: str) -> str:
    """The card with ``keys`` of ``[raw]``."""
    return CARD.replace("[raw.columns]", f"[raw]\n{keys}\n[raw.columns]")


def raw(says: tuple[str, ...], keys: str, below: str = "", **parts: str) -> Bad:
    """A folder of raw files, ``parts`` by stem, and a card with ``keys`` of ``[raw]`` and what stands ``below``."""
    card = keyed(keys) + below
    return Bad(
        (*OWN[:3], ".", *OWN[4:]), says, {"my.toml": card} | {f"{stem}.csv": text for stem, text in parts.items()}
    )


def lists() -> bytes:
    """The rows with a list in the place of each value of ``a``, as Parquet."""
    sink = io.BytesIO()
    numbers = list(range(200))
    pq.write_table(pa.table({"y": [i % 2 for i in numbers], "a": [[i % 5, 7] for i in numbers], "n": numbers}), sink)
    return sink.getvalue()


def zst() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(ROWS.encode())
    return bytes(sink.getvalue())


def labelled(one: str, zero: str) -> str:
    lines = (line.split(",", 1) for line in ROWS.splitlines()[1:])
    return "y,a,n\n" + "".join(f"{one if y == '1' else zero},{rest}\n" for y, rest in lines)


def the(pattern: str) -> Path:
    (found,) = Path().glob(pattern)
    return found


def change(pattern: str, data: str | bytes) -> Callable[[], object]:
    """Put ``data`` in the place of the one file that ``pattern`` finds."""
    return lambda: the(pattern).write_bytes(data if isinstance(data, bytes) else data.encode())


def cell(**changes: object) -> Callable[[], object]:
    """Change the record of ``done``."""

    def edit() -> None:
        file = the("done/cells/*.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return edit


def renamed() -> None:
    file = the("done/cells/*.json")
    file.rename(file.with_name("0123456789abcdef.json"))


def objects() -> None:
    np.save(STORE / "ids.npy", np.array([{}], dtype=object), allow_pickle=True)


def in_a_circle() -> None:
    Path("x").symlink_to("y")
    Path("y").symlink_to("x")


LIBSVM = """
name = "my"
[raw]
format = "libsvm"
[raw.columns]
y = "label"
"1-5" = { kind = "categorical", field = "user" }
"""
PICKLE = pickle.dumps({"a": os.getcwd})
TABLE = {
    "no such command": Bad(("raport",), ("command 'raport' is unknown.", "Did you mean 'report'?")),
    "no such flag": run("--sedes", "3", says=("--sedes",)),
    "no such data set": run("--datasets", "criteoo", says=("'criteoo' is unknown.", "Did you mean 'criteo'?")),
    "data set not prepared": run("--datasets", "criteo", says=("'criteo' is not prepared", "python -m bench prepare")),
    "bracket left open": run("--datasets", "planted[rows=500", says=("name[param=value,...]",)),
    "parameter out of range": run("--datasets", "planted[rows=99]", says=("rows=99", "out of range")),
    "parameter of a data set misspelt": run("--datasets", "planted[rowz=9]", says=("has no parameter 'rowz'",)),
    "parameter of the wrong type": run("--datasets", "planted[rows=many]", says=("rows=many", "int")),
    "no such method": run("--methods", "light-fpm", says=("'light-fpm' is unknown", "Did you mean 'light-fmp'?")),
    "parameter of a method misspelt": run("--methods", "light-fmp[gate_rl=1]", says=("no parameter 'gate_rl'",)),
    "parameter given twice": run("--methods", "random-k[carry_over=true,carry_over=true]", says=("given twice",)),
    "one method under two names": run("--methods", "random-k", "random-k[carry_over=false]", says=("same settings",)),
    "budget that a method lacks": run("--methods", "light-fmp[budget=native]", says=("choose one of field",)),
    "no such backbone": run("--backbones", "xdeepfmm", says=("Did you mean 'xdeepfm'?",)),
    "layer without width": run("--backbones", "dnn[mlp=0]", says=("mlp=0 is out of range",)),
    "prune all fields": run("--prune-ratio", "1", says=("prune-ratio=1 is out of range; allowed: [0, 1)",)),
    "prune ratio that is no number": run("--prune-ratio", "nan", says=("prune-ratio=nan",)),
    "no seed": run("--seeds", "0", says=("seeds=0 is out of range",)),
    "seeds in words": run("--seeds", "three", says=("--seeds", "three")),
    "too few rows": run("--rows", "3", says=("rows=3 is out of range",)),
    "no epoch": run("--epochs", "0", says=("epochs=0 is out of range",)),
    "no thread": run("--threads", "0", says=("threads=0 is out of range",)),
    "no such device": run("--device", "gpu", says=("device='gpu' is unknown; choose auto",)),
    "no such profile": run("--profile", "huge", says=("profile='huge' is unknown",)),
    "no such executor": run("--executor", "proces", says=("Did you mean 'process'?",)),
    "limit that nobody can keep": run("--timeout-s", "5", says=("timeout-s=5 needs --isolate",)),
    "no such experiment": run("--experiment", "table9", says=("experiment 'table9' is unknown",)),
    "settings that are not there": run("--config", "no.toml", says=("config=no.toml cannot be read",)),
    "settings that are no TOML": Bad((*RUN, "--config", "c"), ("config=c cannot be read", "line 1"), {"c": "no toml"}),
    "unknown setting": Bad((*RUN, "--config", "c"), ("key 'sedes' is unknown.",), {"c": "sedes = 3\n"}),
    "setting of the wrong type": Bad((*RUN, "--config", "c"), ("not of type int",), {"c": 'seeds = "three"\n'}),
    "settings in another encoding": Bad((*RUN, "--config", "c"), ("config=c cannot be read",), {"c": b"\xff\xfe\x00"}),
    "card that is not there": Bad(("prepare", "no.toml", "--raw", "x"), ("no.toml: cannot be read",)),
    "card that is no TOML": own(("my.toml: is not valid TOML",), card="name my"),
    "card without a label": own(("label",), card=CARD.replace('"label"', '"ignore"')),
    "card of an unknown kind": own(("'float'",), card=CARD.replace('"numeric"', '"float"')),
    "card with an unknown key": own(("min_cuont",), card=f"min_cuont = 3\n{CARD}"),
    "card that is a folder": Bad(OWN, ("my.toml: cannot be read",), before=lambda: Path("my.toml").mkdir()),
    "name that leaves the folder": own(("name",), card=CARD.replace('"my"', '"../my"')),
    "raw file that is not there": Bad(OWN, ("there is no such file or folder",), {"my.toml": CARD}),
    "raw file that is empty": own(("my.csv",), rows=""),
    "raw file of another format": own(("my.csv", "pickle"), rows=PICKLE),
    "raw file that was cut off": own(("my.csv",), rows=b"\x1f\x8b\x08\x00 cut"),
    "raw file without a column": own(("'n'",), rows=ROWS.replace("y,a,n", "y,a,m")),
    "row with a value too many": own(("my.csv",), rows=ROWS + "1,2,3,4\n"),
    "labels of three kinds": own(("label",), rows=ROWS + "2,1,1\n"),
    "number that is none": own(("'n'",), rows=ROWS + "1,2,many\n"),
    "one label only": own(("label",), rows=ROWS.replace("\n1,", "\n0,")),
    "bz2 that was cut off": own(("my.csv: the file is cut short or damaged",), rows=bz2.compress(ROWS.encode())[:-9]),
    "xz that was cut off": own(("my.csv: the file is cut short or damaged",), rows=lzma.compress(ROWS.encode())[:-9]),
    "zst that was cut off": own(("my.csv: the file is cut short or damaged",), rows=zst()[:-9]),
    "labels in words": own(
        ("line 2, column 'y': the label is 'no', not 0 or 1", 'positive = ["yes"], negative = ["no"]'),
        rows=labelled("yes", "no"),
    ),
    "labels of numbers": own(("the label is '-1'", 'positive = ["1"], negative = ["-1"]'), rows=labelled("1", "-1")),
    "label with a blank": own(("the label is ' 0'", "trim = true"), rows=labelled(" 1", " 0")),
    "positive value that never comes": own(
        ("'no' (100 rows), 'yes' (100 rows)", "negative = ["), keyed('positive = ["yess"]'), labelled("yes", "no")
    ),
    "decimal comma unannounced": own(
        ("line 202, column 'n': '3,5' is not a number", "set decimal = ','"), rows=ROWS + '1,2,"3,5"\n'
    ),
    "decimal comma that is the delimiter too": own(
        ("decimal commas are delimiters too", "must stand in quotes"), keyed("decimal = ','"), ROWS + "1,2,3,5\n"
    ),
    "decimal that is none": own(("decimal = ';' must be '.' or ','",), keyed("decimal = ';'")),
    "list column without multi": own(
        ("column 'a' holds lists", 'multi = "combination"', 'multi = "first" with positions = 3'), rows=lists()
    ),
    "several values in text": own(
        ("multi 'all' does not exist. Known: combination, first, mean.",),
        CARD.replace('"categorical"', '{ kind = "categorical", multi = "all" }'),
    ),
    "multi without a separator": own(
        ("column 'a' holds texts", 'set separator = "|" beside multi'),
        CARD.replace('"categorical"', '{ kind = "categorical", multi = "combination" }'),
    ),
    "glob that finds nothing": raw((".: holds no day-*.csv (it holds ",), 'files = ["day-*.csv"]', my=ROWS),
    "file of the list that is not there": raw(
        (".: holds a.csv, but no b.csv",), 'files = ["a.csv", "b.csv"]\njoin = true', a=ROWS
    ),
    "two files that nobody joins": raw(
        ("holds a.csv and b.csv, but one file is wanted", "join = true"), 'files = ["a.csv", "b.csv"]', a=ROWS, b=ROWS
    ),
    "parts of other columns": raw(
        ("b.csv: the header lacks the column 'n'",), 'files = ["?.csv"]\njoin = true', a=ROWS, b=ROWS.replace("n", "m")
    ),
    "list of files that is empty": raw(
        ("are no parts of one table", "or say under [raw] of the card which files"), "files = []", a=ROWS
    ),
    "files that are no list": raw(("files = 3 must be a list in brackets",), "files = 3", a=ROWS),
    "test file that is not there": raw(
        ("[split] test of the card names t.csv, which is not there",),
        'files = ["a.csv"]',
        '[split]\ntest = { files = ["t.csv"] }\n',
        a=ROWS,
    ),
    "test file that is a training file": raw(
        ("holds no a.csv besides the test files of the card",),
        'files = ["a.csv"]',
        '[split]\ntest = { files = ["a.csv"] }\n',
        a=ROWS,
    ),
    "test file of other columns": raw(
        ("t.csv: the header lacks the column 'n'", "The test files need the columns"),
        'files = ["a.csv"]',
        '[split]\ntest = { files = ["t.csv"] }\n',
        a=ROWS,
        t=ROWS.replace("n", "m"),
    ),
    "test split without a file": raw(
        ("[split]: [test]: the key 'files' is missing",),
        'files = ["a.csv"]',
        '[split]\ntest = { file = "t.csv" }\n',
        a=ROWS,
        t=ROWS,
    ),
    "libsvm index without a field": Bad(
        OWN,
        ("line 1 has the index 9, which no column of the card holds",),
        {"my.toml": LIBSVM, "my.csv": "1 3:1 9:1\n0 4:1\n" * 40},
    ),
    "libsvm column by name": Bad(
        OWN,
        ("column 'user' must be an index, as 7, or a range",),
        {"my.toml": LIBSVM.replace('"1-5"', '"user"'), "my.csv": "1 3:1\n"},
    ),
    "index of pandas": own(
        ("does not name: 'Unnamed: 0'", '"Unnamed: 0" = "ignore"'),
        rows=pd.read_csv(io.StringIO(ROWS)).to_csv().replace(",y", "Unnamed: 0,y", 1),
    ),
    "index of pandas without a name": own(
        ("does not name: ''", '"" = "ignore"'), rows=pd.read_csv(io.StringIO(ROWS)).to_csv()
    ),
    "missing marker with a blank": own(
        ("line 202, column 'n'", "a missing value has no blanks around it", "trim = true"),
        keyed('missing = ["?"]'),
        ROWS + "1,2, ?\n",
    ),
    "names with blanks": own(
        ("the header lacks the column 'a'", "Its names have blanks around them: set trim = true"),
        rows=ROWS.replace("y,a,n", "y, a, n"),
    ),
    "download of what nobody offers": Bad(("prepare", "planted", "--download", "--raw", "x"), ("exclude each other",)),
    "raw data of generated rows": Bad(("prepare", "planted", "--raw", "data"), ("is generated: leave out --raw",)),
    "report of nothing": Bad(("report", "nowhere"), ("nowhere is no run folder: it does not exist",)),
    "report of a folder without cells": Bad(("report", "data"), ("data is no run folder: it has no cells/*.json",)),
    "table that is none": Bad(("explain", "done", "table9", TINY, "random-k", "auc"), ("table9",)),
    "record cut off": Bad(("report", "done"), ("not readable",), before=change("done/cells/*.json", "{")),
    "record that is a list": Bad(("report", "done"), ("holds list",), before=change("done/cells/*.json", "[]")),
    "record with an unknown key": Bad(("report", "done"), ("unknown key 'flavour'",), before=cell(flavour=3)),
    "record of another type": Bad(("report", "done"), ("auc",), before=cell(auc="high")),
    "record under another name": Bad(("report", "done"), ("it was renamed or copied",), before=renamed),
    "record that is code": Bad(("report", "done"), ("not readable",), before=change("done/cells/*.json", PICKLE)),
    "record nested without end": Bad(AGAIN, ("not readable",), before=change("done/cells/*.json", "[" * 99_999)),
    "manifest cut off": Bad(RUN, ("manifest.json: cannot be read",), before=change(f"{STORE}/manifest.json", "{")),
    "ids that are code": Bad(RUN, ("ids.npy: the checksum is",), before=objects),
    "labels cut off": Bad(RUN, ("labels.npy: the checksum is",), before=change(f"{STORE}/labels.npy", b"\x93NUMPY")),
    "out is a file": Bad(RUN, ("x: something else is there already", "choose another folder"), {"x": "mine"}),
    "out below a file": Bad((*RUN, "--out", "x/y"), ("x/y: a part of the path is a file",), {"x": "mine"}),
    "out in a circle": Bad(
        (*RUN, "--out", "x"), ("x: something else is there", "choose another folder"), before=in_a_circle
    ),
    "out with too long a name": Bad((*RUN, "--out", "n" * 300), ("a name of 300 bytes is too long",)),
    "data folder is a file": Bad(
        ("prepare", TINY, "--data-dir", "x"),
        ("x/planted", "a part of the path is a file", "choose another folder"),
        {"x": ""},
    ),
    "raw text over a folder": Bad(("prepare", TINY, "--raw-out", "data"), ("--raw-out data is there already",)),
    "control characters": Bad(("report", "no\x1b[31mwhere"), ("no\\x1b[31mwhere is no run folder",)),
}
"""By what is bad about it."""


@pytest.fixture(scope="module")
def sound(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and ``done``."""
    folder = tmp_path_factory.mktemp("sound")
    shutil.copytree(store_folder(data_dir, resolve_dataset(TINY)), folder / STORE)
    argv = [*RUN[:-1], str(folder / "done")]
    argv[argv.index("data")] = str(folder / "data")
    assert main(argv) == 0
    return folder


def files() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", TABLE)
def test_bad_input_ends_with_a_message_and_nothing_else(
    bench: Bench, sound: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    bad = TABLE[name]
    shutil.copytree(sound, ".", dirs_exist_ok=True)
    for path, content in bad.files.items():
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    bad.before()
    before = files()
    found = bench(*bad.argv)
    text = " ".join(found.err.replace("│", " ").split())  # the flag parser draws a box
    assert found.code == 2, found.err
    assert (found.out, files()) == ("", before)
    assert [part for part in bad.parts if part not in text] == [], text
    assert "Traceback" not in text and "\x1b" not in text
    message = next((line for line in found.err.splitlines() if line.startswith("error: ")), text)
    with (tmp_path_factory.getbasetemp() / "bad-inputs.md").open("a", encoding="utf-8") as table:
        table.write(f"| {name} | `{' '.join(bad.argv)[:60]}` | {message} |\n")


def test_the_table_has_ninety_rows() -> None:
    assert len(TABLE) >= 90
