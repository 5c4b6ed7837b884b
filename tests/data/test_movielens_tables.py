"""The MovieLens rules on made-up files of the original formats, and rules of one's own."""

from __future__ import annotations

import random
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
from plain_reference import manifest_of, plain_ids, plain_split, write_card

from bench.data.prepare.prepare import prepare
from bench.data.raw.fields import SideTable
from bench.datasets import resolve_dataset
from bench.errors import ConfigError, DataError
from bench.rows.load import load

MOVIES = {  # id: title, genres, release date
    "1": ("Toy Story (1995)", "Animation|Comedy", "01-Jan-1995"),
    "2": ("Amélie (Le Fabuleux destin) (2001)", "Comedy", "02-Feb-2001"),
    "3": ("unknown", "", ""),
    "4": ('"Quoted", The (1972)', "Drama", "13-Mar-1972"),
}
USERS = {"10": ("F", "1", "5", "48067"), "11": ("M", "56", "16", "70072")}
GENRES = ["Animation", "Comedy", "Drama"]


def ratings(n=200):
    rng = random.Random(2)
    return [
        (rng.choice(["10", "11"]), rng.choice(["1", "2", "3", "4", "9"]), str(rng.randint(1, 5)), rng.randrange(10**9))
        for _ in range(n)
    ]


def looked_up(user, movie, seconds):
    _, genres, date = MOVIES.get(movie, ("", "", ""))
    time = datetime.fromtimestamp(seconds, UTC)
    values = {
        "user": user,
        "movie": movie,
        "genres": genres or None,
        "release_year": date[-4:] or None,
        "rating_year": str(time.year),
        "weekday": str(time.weekday()),
        "hour": str(time.hour),
    }
    return values | dict(zip(("gender", "age", "occupation", "zip"), USERS[user], strict=True))


def assert_plain(card, store, rows):
    opened = load(store, card)
    labels = [int(int(rating) >= 4) for _, _, rating, _ in rows]
    split = np.array(plain_split(labels, 0, ["0.8", "0.1", "0.1"]))
    values = [looked_up(user, movie, seconds) for user, movie, _, seconds in rows]
    ids, _ = plain_ids(values, split.tolist(), list(opened.schema.names), 1)
    for number, part in enumerate((opened.train, opened.valid, opened.test)):
        np.testing.assert_array_equal(part.ids, ids[split == number])
        np.testing.assert_array_equal(part.labels, np.array(labels)[split == number])


def quoted(title):
    return '"' + title.replace('"', '""') + '"'


def test_csv_movies_inside_a_zip(tmp_path):
    rows = ratings()
    movies = "movieId,title,genres\n" + "".join(f"{i},{quoted(t)},{g}\n" for i, (t, g, _) in MOVIES.items())
    table = "userId,movieId,rating,timestamp\n" + "".join(f"{u},{m},{r}.0,{s}\n" for u, m, r, s in rows)
    path = tmp_path / "ml-20m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-20m/ratings.csv", table)
        archive.writestr("ml-20m/movies.csv", movies)
        archive.writestr("ml-20m/tags.csv", "userId\n")
    card = resolve_dataset("movielens")
    assert_plain(card, prepare(card, path, tmp_path / "out"), rows)


@pytest.mark.parametrize("timestamps", [True, False])
def test_one_million_with_and_without_timestamps(tmp_path, timestamps):
    rows, folder = ratings(), tmp_path / "ml-1m"
    folder.mkdir()
    movies = "".join(f"{i}::{t}::{g}\n" for i, (t, g, _) in MOVIES.items())
    (folder / "movies.dat").write_bytes(movies.encode("latin-1"))
    (folder / "users.dat").write_text("".join("::".join([u, *v]) + "\n" for u, v in USERS.items()))
    name = "ratings.dat" if timestamps else "ratings_no_timestamp.dat"
    lines = [[u, m, r, str(s)][: 4 if timestamps else 3] for u, m, r, s in rows]
    (folder / name).write_text("".join("::".join(line) + "\n" for line in lines))
    card = resolve_dataset("movielens-1m")
    store = prepare(card, folder, tmp_path / "out")
    assert_plain(card, store, rows)
    assert load(store, card).schema.n_fields == (11 if timestamps else 8)
    assert [one["name"] for one in manifest_of(store)["raw"]] == ["movies.dat", name, "users.dat"]


def test_hundred_thousand_with_its_genre_flags(tmp_path):
    rows, folder = ratings(), tmp_path / "ml-100k"
    folder.mkdir()
    items = []
    for i, (title, genres, date) in MOVIES.items():
        flags = "|".join(str(int(name in genres.split("|"))) for name in GENRES)
        items.append(f"{i}|{title}|{date}||http://x|{flags}")
    (folder / "u.item").write_bytes("\n".join(items).encode("latin-1"))
    (folder / "u.genre").write_text("".join(f"{name}|{i}\n" for i, name in enumerate(GENRES)) + "\n")
    (folder / "u.user").write_text("".join(f"{u}|{a}|{g}|{o}|{z}\n" for u, (g, a, o, z) in USERS.items()))
    (folder / "u.data").write_text("".join(f"{u}\t{m}\t{r}\t{s}\n" for u, m, r, s in rows))
    card = resolve_dataset("movielens-100k")
    assert_plain(card, prepare(card, folder, tmp_path / "out"), rows)
    (folder / "u.item").write_text(items[0] + "\n1|2\n")
    with pytest.raises(DataError, match=r"u.item: line 2 has 2 columns, wanted 8; fetch the original file again"):
        prepare(card, folder, tmp_path / "out")


def test_ratings_without_their_side_tables(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4,1\n")
    for raw in (tmp_path, tmp_path / "ratings.csv"):
        with pytest.raises(DataError, match=r"movies.csv is not there.*pass the folder or the archive"):
            prepare(resolve_dataset("movielens"), raw, tmp_path / "out")


def odd_rule(source):
    return (SideTable("city", {"country": {"Rome": "Italy"}}),)


OWN = """
name = "mine"
[raw]
rule = "test_movielens_tables:odd_rule"
fields = ["city", "country"]
[raw.columns]
y = "label"
city = "categorical"
"""


def test_a_rule_of_ones_own_must_give_what_the_card_names(tmp_path):
    (tmp_path / "t.csv").write_text("y,city\n" + "1,Rome\n0,Bonn\n" * 50)
    card = write_card(tmp_path, OWN)
    opened = load(prepare(card, tmp_path / "t.csv", tmp_path / "out"), card)
    assert opened.schema.cardinalities.tolist() == [4, 3]
    for old, new, message in [
        ('"country"]', '"continent"]', "rule .* gives no values of the field 'continent'. Known"),
        ("city =", "town =", "rule .* looks up by 'city'. Known: town"),
    ]:
        text = OWN.replace(old, new).replace('"city",', '"town",' if "town" in new else '"city",')
        with pytest.raises(ConfigError, match=message):
            prepare(write_card(tmp_path, text), tmp_path / "t.csv", tmp_path / "out")
