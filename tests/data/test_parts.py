"""Folders and patterns whose files are one table without a word of the card; columns that stand in folders' names."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.data.raw.names import natural, partition_keys
from bench.data.store.manifest import revision_of
from bench.errors import DataError

N_PARTS = 40
CARD = """
name = "mine"
[raw]
{files}
[raw.columns]
y = "label"
day = "categorical"
c = "categorical"
n = "integer"
x = "numeric"
at = {{ kind = "time", format = "iso", parts = {{ hour = "hour" }} }}
seen = "categorical"
"""


def frame(place, n=20):
    """Rows of one day; the first days have midnights alone."""
    rng = np.random.default_rng(place)
    hours = rng.integers(0, 24, n) if place > 2 else np.zeros(n, dtype=int)
    moments = pd.Timestamp("2024-03-01") + pd.to_timedelta(24 * place + hours, unit="h")
    return pd.DataFrame(
        {
            "y": rng.integers(0, 2, n),
            "day": f"d {place}" if place else None,
            "c": rng.choice(["a", "b", "a longer value"], n),
            "n": rng.integers(0, 50, n),
            "x": rng.normal(size=n),
            "at": moments,
            "seen": moments,
        }
    )


def write(one, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        one.to_parquet(path, index=False)
    else:
        one.to_csv(path, index=False, **options)


def folder_of(place):
    return f"day={f'd%20{place}' if place else '__HIVE_DEFAULT_PARTITION__'}"


@pytest.fixture
def card(tmp_path):
    return write_card(tmp_path, CARD.format(files=""))


def files_of(card, raw, folder, **settings):
    return manifest_of(prepare(card, raw, folder, settings=Settings(**settings)))["files"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_forty_partitions_are_one_file(tmp_path, card, ending):
    """Byte for byte, the days in folders' names or in the files, whichever way they are named and read."""
    whole = pd.concat([frame(place) for place in range(N_PARTS)])
    write(whole, tmp_path / f"whole.{ending}")
    expected = files_of(card, tmp_path / f"whole.{ending}", tmp_path / "whole")
    unit = {} if ending == "parquet" else {"date_format": "%Y-%m-%d %H:%M:%S"}
    for place in range(N_PARTS):
        write(frame(place), tmp_path / "plain" / f"part-{place}.{ending}", **unit)
        write(
            frame(place).drop(columns="day"),
            tmp_path / "hive" / f"k={place}" / folder_of(place) / f"0.{ending}",
            **unit,
        )
    (tmp_path / "plain" / "_SUCCESS").touch()
    assert files_of(card, tmp_path / "plain", tmp_path / "1") == expected
    assert files_of(card, tmp_path / "hive", tmp_path / "2", chunk_bytes=700, threads=3) == expected
    several = sorted((tmp_path / "hive").rglob(f"*.{ending}"), key=lambda path: natural(path.as_posix()))
    assert files_of(card, several, tmp_path / "3") == expected
    notes = manifest_of(tmp_path / "2")["notes"]
    assert any("the folders of the files give 'k', which the card does not name" in note for note in notes)
    raw = manifest_of(tmp_path / "2")["raw"]
    assert [one["name"] for one in raw[:3]] == [f"k={i}/{folder_of(i)}/0.{ending}" for i in range(3)]
    assert raw[2]["partition"] == "day=d 2"


def test_names_sort_by_their_numbers():
    names = ["b/1.csv", "a/part-10.csv", "a/part-2.csv", "a/part-2", "a2/x", "a10/x", "a/part-02.csv", "B/1.csv"]
    in_order = ["B/1.csv", "a/part-2", "a/part-02.csv", "a/part-2.csv", "a/part-10.csv", "a2/x", "a10/x", "b/1.csv"]
    assert sorted(names, key=natural) == in_order


def test_folders_say_what_their_rows_have_in_common():
    name = "root=/a=1/b/c%2Fd=x%3D1=2/__HIVE_DEFAULT_PARTITION__/e=__HIVE_DEFAULT_PARTITION__/f=1.csv"
    assert partition_keys(name) == {"root": "", "a": "1", "c/d": "x=1=2", "e": None}


@pytest.mark.parametrize(
    "role", ["integer", "numeric", '{ kind = "time", format = "unix", parts = { wd = "weekday" } }']
)
def test_folders_give_numbers_and_labels_too(tmp_path, role):
    text = (
        f'name = "m"\n[raw]\n[raw.columns]\ny = "label"\nc = "categorical"\nk = {role if "{" in role else repr(role)}\n'
    )
    card = write_card(tmp_path, text)
    values = np.random.default_rng(0).choice(list("abc"), 120)
    rows = pd.DataFrame({"y": np.arange(120) // 60, "c": values, "k": np.arange(120) // 20 * 86_400})
    write(rows, tmp_path / "whole.csv")
    for (label, k), part in rows.groupby(["y", "k"]):
        write(part[["c"]], tmp_path / "hive" / f"y={label}" / f"k={k}" / "part.csv")
    expected = files_of(card, tmp_path / "whole.csv", tmp_path / "1")
    assert files_of(card, tmp_path / "hive", tmp_path / "2") == expected


def test_a_folder_that_says_no_number_is_refused(tmp_path):
    card = write_card(tmp_path, 'name = "m"\n[raw]\n[raw.columns]\ny = "label"\nc = "categorical"\nday = "integer"\n')
    for place in range(2):
        write(frame(place)[["y", "c"]], tmp_path / "hive" / f"day=d{place}" / "0.csv")
    with pytest.raises(
        DataError, match=r"day=d0/0.csv: its folder says that column 'day' is 'd0', .* no.* whole number"
    ):
        prepare(card, tmp_path / "hive", tmp_path / "out")


def test_a_file_that_holds_the_column_is_believed(tmp_path, card):
    for place in range(3):
        write(frame(place), tmp_path / "hive" / "day=other" / f"{place}.csv")
        write(frame(place), tmp_path / "plain" / f"{place}.csv")
    assert files_of(card, tmp_path / "hive", tmp_path / "1") == files_of(card, tmp_path / "plain", tmp_path / "2")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("raw", ["folder", "files"])
def test_files_of_other_columns_are_no_parts(tmp_path, card, ending, raw):
    write(frame(1), tmp_path / "parts" / f"part-1.{ending}")
    write(frame(2).rename(columns={"c": "d"}).assign(e=1), tmp_path / "parts" / f"part-2.{ending}")
    paths = sorted((tmp_path / "parts").iterdir())
    other = rf".*part-2.{ending}"
    said = rf"part-1.{ending} and {other} are no parts of one table: {other} lacks 'c' and has 'd', 'e'"
    with pytest.raises(DataError, match=said):
        prepare(card, tmp_path / "parts" if raw == "folder" else paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_beside_the_table_is_named(tmp_path, card):
    write(frame(1), tmp_path / "parts" / "clicks.csv")
    (tmp_path / "parts" / "README.md").write_text("# Clicks\n")
    (tmp_path / "parts" / "b.csv").write_text("shop,town\n1,2\n")
    with pytest.raises(DataError, match=r"b.csv and clicks.csv are no parts .* say under \[raw\] .* which files"):
        prepare(card, tmp_path / "parts", tmp_path / "out")
    named = write_card(tmp_path, CARD.format(files='files = ["c*.csv"]'))
    assert manifest_of(prepare(named, tmp_path / "parts", tmp_path / "out"))["n_rows"] == 20


def test_parts_of_which_one_writes_5_as_a_float_are_refused(tmp_path, card):
    write(frame(1).assign(c=5), tmp_path / "parts" / "1.parquet")
    write(frame(2).assign(c=[5.0] * 19 + [None]), tmp_path / "parts" / "2.parquet")
    said = (
        "1.parquet and 2.parquet: column 'c' holds whole numbers in the first and floating-point numbers in the other"
    )
    with pytest.raises(DataError, match=said):
        prepare(card, tmp_path / "parts", tmp_path / "out")


def test_a_part_with_and_without_compression_is_refused(tmp_path, card):
    write(frame(1), tmp_path / "parts" / "1.csv")
    (tmp_path / "parts" / "1.csv.gz").write_bytes(gzip.compress((tmp_path / "parts" / "1.csv").read_bytes()))
    with pytest.raises(DataError, match=r"1.csv and 1.csv.gz seem to be one part"):
        prepare(card, tmp_path / "parts", tmp_path / "out")


def test_another_folder_is_other_data(tmp_path, card):
    for place in range(3):
        write(frame(place + 1).drop(columns="day"), tmp_path / "hive" / f"day={place}" / "0.csv")
    before = manifest_of(prepare(card, tmp_path / "hive", tmp_path / "1"))
    (tmp_path / "hive" / "day=2").rename(tmp_path / "hive" / "day=3")
    after = manifest_of(prepare(card, tmp_path / "hive", tmp_path / "2"))
    assert [one["sha256"] for one in before["raw"]] == [one["sha256"] for one in after["raw"]]
    assert revision_of(before) != revision_of(after)


def test_the_command_takes_folders_and_patterns(bench, tmp_path):
    (Path("own.toml")).write_text(CARD.format(files=""))
    for place in range(12):
        write(frame(place).drop(columns="day"), Path("clicks") / folder_of(place) / "part.csv")
    assert bench("prepare", "own.toml", "--raw", "clicks").out.startswith("data/mine: 240 rows")
    (Path("clicks") / "_SUCCESS").touch()
    for pattern in ("clicks/day=*/*.csv", "clicks/*", "clicks/**/*.csv"):
        assert "data/mine is there already (240 rows)" in bench("prepare", "own.toml", "--raw", pattern).err
    shutil.move("clicks/day=d%203", "clicks/day=d%2099")
    again = bench("prepare", "own.toml", "--raw", "clicks")
    assert again.code == 2
    assert "made from day=__HIVE_DEFAULT_PARTITION__/part.csv, day=d%201/part.csv" in again.err
    assert "--force replaces it" in again.err
