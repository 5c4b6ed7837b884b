"""A store that is there already, beside the raw data that ``prepare`` is given: old rows never pass for new ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CARD = """
name = "mine"
[raw]
files = ["best.csv", "*.csv"]
[raw.columns]
y = "label"
c = "categorical"
"""
MOVIES = "movielens-latest-small"


def table(rows: int, word: str = "a") -> str:
    return "y,c\n" + f"1,{word}\n0,b\n" * (rows // 2)


@pytest.fixture
def folder(bench) -> Path:
    """A folder with one table of 100 rows, made a store of."""
    Path("mine.toml").write_text(CARD)
    path = Path("export")
    path.mkdir()
    (path / "t.csv").write_text(table(100))
    assert bench("prepare", "mine.toml", "--raw", "export").out.startswith("data/mine: 100 rows")
    return path


def test_a_folder_as_it_was_is_there_already(bench, folder):
    (folder / "notes.txt").write_text("not of the table")
    os.utime(folder / "t.csv", (0, 0))
    shutil.copytree(folder, "copy")
    for raw in ("export", "copy", "export/t.csv"):
        again = bench("prepare", "mine.toml", "--raw", raw)
        assert (again.code, again.out) == (0, "")
        assert "data/mine is there already (100 rows)" in again.err


def test_a_folder_whose_content_changed_is_refused_until_forced(bench, folder):
    (folder / "t.csv").write_text(table(60))
    refused = bench("prepare", "mine.toml", "--raw", "export")
    assert refused.code == 2
    assert (
        "data/mine is there already, made from t.csv (100 rows), and in export the content of t.csv is another; "
        "--force replaces it." in refused.err
    )
    assert bench("prepare", "mine.toml", "--raw", "export", "--force").out.startswith("data/mine: 60 rows")
    assert bench("prepare", "mine.toml", "--raw", "export").code == 0


def test_a_file_of_the_same_length_and_time_is_told_by_its_content(bench, folder):
    stamp = (folder / "t.csv").stat()
    (folder / "t.csv").write_text(table(100, "z"))
    os.utime(folder / "t.csv", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert bench("prepare", "mine.toml", "--raw", "export").code == 2


def test_another_folder_and_a_new_file_that_is_preferred_are_refused(bench, folder):
    other = Path("other")
    other.mkdir()
    (other / "u.csv").write_text(table(40))
    refused = bench("prepare", "mine.toml", "--raw", "other")
    assert refused.code == 2 and "made from t.csv (100 rows), not from u.csv of other; --force" in refused.err
    (folder / "best.csv").write_text(table(80))
    refused = bench("prepare", "mine.toml", "--raw", "export")
    assert refused.code == 2 and "not from best.csv of export" in refused.err


def test_a_new_file_that_may_be_meant_as_well_is_named(bench, folder):
    (folder / "u.csv").write_text(table(40))
    refused = bench("prepare", "mine.toml", "--raw", "export")
    assert refused.code == 2 and "t.csv" in refused.err and "u.csv" in refused.err
    (folder / "t.csv").unlink()
    (folder / "u.csv").unlink()
    assert "holds no best.csv or *.csv" in bench("prepare", "mine.toml", "--raw", "export").err


def movies(folder: Path, year: int = 1995) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "movies.csv").write_text(f"movieId,title,genres\n7,Sabrina ({year}),Comedy\n8,Heat (1996),Action\n")
    rows = "".join(f"{i},{7 + i % 2},{3 + i % 2}.0,{1000 + i}\n" for i in range(60))
    (folder / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{rows}")


def test_a_side_table_that_changed_is_named(bench):
    movies(Path("ml"))
    assert bench("prepare", MOVIES, "--raw", "ml").code == 0
    assert "is there already (60 rows)" in bench("prepare", MOVIES, "--raw", "ml").err
    movies(Path("ml"), year=1954)
    refused = bench("prepare", MOVIES, "--raw", "ml")
    assert refused.code == 2
    assert "in ml the content of movies.csv is another; --force replaces it." in refused.err


def test_download_does_not_pass_off_a_store_of_other_files(bench):
    movies(Path("ml"))
    assert bench("prepare", MOVIES, "--raw", "ml").code == 0
    refused = bench("prepare", MOVIES, "--download")
    assert refused.code == 2
    assert "not from the download ml-latest-small.zip; --force replaces it." in refused.err
    shutil.make_archive("ml-latest-small", "zip", "ml")
    assert bench("prepare", MOVIES, "--raw", "ml-latest-small.zip", "--force").code == 0
    assert "is there already" in bench("prepare", MOVIES, "--download").err
    Path("data/raw").mkdir()
    shutil.copy("ml-latest-small.zip", "data/raw")
    assert "is there already" in bench("prepare", MOVIES, "--download").err
    Path("data/raw/ml-latest-small.zip").write_bytes(b"another")
    refused = bench("prepare", MOVIES, "--download")
    assert refused.code == 2 and "of another content; --force" in refused.err


def test_a_store_of_another_card_of_the_name_is_not_replaced_without_a_word(bench, folder):
    Path("b").mkdir()
    Path("b/mine.toml").write_text(CARD + 'd = "categorical"\n')
    Path("b.csv").write_text("y,c,d\n" + "1,a,p\n0,b,q\n" * 20)
    refused = bench("prepare", "b/mine.toml")
    assert refused.code == 2
    assert "data/mine: the card was changed since the store was made, or another card of the name 'mine'" in refused.err
    done = bench("prepare", "b/mine.toml", "--raw", "b.csv")
    assert done.out.startswith("data/mine: 40 rows")
    assert "another card of the name 'mine' made it. It is replaced." in done.err


def test_a_card_of_the_same_columns_and_another_title_shares_the_store_of_its_rows(bench, folder):
    Path("b").mkdir()
    Path("b/mine.toml").write_text('title = "Another"\n' + CARD)
    assert "is there already (100 rows)" in bench("prepare", "b/mine.toml", "--raw", "export").err
    Path("b.csv").write_text(table(40))
    assert "not from b.csv; --force" in bench("prepare", "b/mine.toml", "--raw", "b.csv").err


def test_generated_data_take_no_raw_files(bench):
    assert bench("prepare", "planted", "--rows", "500").code == 0
    refused = bench("prepare", "planted", "--rows", "500", "--raw", ".")
    assert refused.code == 2 and "is generated: leave out --raw ." in refused.err
