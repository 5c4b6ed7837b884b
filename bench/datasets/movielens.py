"""Side tables of the MovieLens sets: what a rating's user and movie are known by.

Each rule reads the files beside the ratings and returns tables that the reader joins to every rating. A
movie's genres are one value, the combination in the order of the file, e.g. ``Comedy|Romance``; its release
year is the one in brackets at the end of the title, e.g. ``Toy Story (1995)``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from bench.data.raw.fields import SideTable
from bench.data.raw.sources import RawSource
from bench.errors import DataError

_YEAR_IN_TITLE = re.compile(r"\((\d{4})\)\s*$")
_YEAR_IN_DATE = re.compile(r"(\d{4})$")
_USER_COLUMNS = ("gender", "age", "occupation", "zip")


def csv_movies(source: RawSource) -> tuple[SideTable, ...]:
    """``movies.csv`` of MovieLens-20M and latest-small: movieId, title, genres."""
    name, text = _text(source, "movies.csv", "utf-8")
    rows = csv.reader(io.StringIO(text))
    next(rows, None)
    genres: dict[str, str] = {}
    years: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        movie, title, genre = _columns(name, line, row, 3)
        genres[movie] = genre
        years |= _year(movie, _YEAR_IN_TITLE, title)
    return (SideTable("movieId", {"genres": _known(genres), "release_year": years}),)


def one_million(source: RawSource) -> tuple[SideTable, ...]:
    """MovieLens-1M: ``movies.dat`` (id, title, genres), ``users.dat`` (id, gender, age, occupation, zip)."""
    genres: dict[str, str] = {}
    years: dict[str, str] = {}
    for movie, title, genre in _rows(source, "movies.dat", "::", 3):
        genres[movie] = genre
        years |= _year(movie, _YEAR_IN_TITLE, title)
    users = {row[0]: row[1:] for row in _rows(source, "users.dat", "::", 5)}
    return (
        SideTable("MovieID", {"genres": _known(genres), "release_year": years}),
        SideTable("UserID", _user_columns(users)),
    )


def hundred_thousand(source: RawSource) -> tuple[SideTable, ...]:
    """``u.item`` (with one flag a genre of ``u.genre``) and ``u.user`` of MovieLens-100k."""
    names = [row[0] for row in _rows(source, "u.genre", "|", 2)]
    genres: dict[str, str] = {}
    years: dict[str, str] = {}
    for movie, _, released, _, _, *flags in _rows(source, "u.item", "|", 5 + len(names)):
        genres[movie] = "|".join(name for name, flag in zip(names, flags, strict=True) if flag == "1")
        years |= _year(movie, _YEAR_IN_DATE, released)
    users = {
        user: [gender, age, occupation, code] for user, age, gender, occupation, code in _rows(source, "u.user", "|", 5)
    }
    return (
        SideTable("item_id", {"genres": _known(genres), "release_year": years}),
        SideTable("user_id", _user_columns(users)),
    )


def _text(source: RawSource, name: str, encoding: str) -> tuple[str, str]:
    member = source.find((name,))
    if member is None:
        raise DataError(
            f"{source.path.name}: {name} is not there, and the ratings alone are not enough; pass the folder "
            f"or the archive that holds both."
        )
    return member, source.text(member, encoding)


def _rows(source: RawSource, name: str, delimiter: str, n_columns: int) -> Iterator[list[str]]:
    """The rows of a latin-1 table without a header."""
    member, text = _text(source, name, "latin-1")
    for line, row in enumerate(text.split("\n"), start=1):
        if row:
            yield _columns(member, line, row.split(delimiter), n_columns)


def _columns(name: str, line: int, row: list[str], wanted: int) -> list[str]:
    if len(row) != wanted:
        raise DataError(f"{name}: line {line} has {len(row)} columns, wanted {wanted}; fetch the original file again.")
    return row


def _year(movie: str, pattern: re.Pattern[str], text: str) -> dict[str, str]:
    found = pattern.search(text.strip())
    return {movie: found[1]} if found else {}


def _known(values: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def _user_columns(users: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    return {name: _known({user: row[place] for user, row in users.items()}) for place, name in enumerate(_USER_COLUMNS)}
