"""The real samples against pandas; skipped where they are not at hand."""

from __future__ import annotations

import itertools
import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of

from bench.data.prepare.prepare import prepare
from bench.datasets import resolve_dataset
from bench.errors import DataError
from bench.rows.load import LoadedData, load

SAMPLES = Path(os.environ.get("BENCH_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))


def sample(name):
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"real sample {name} is not at hand; BENCH_SAMPLES names its folder")
    return path


def opened(spec, raw, tmp_path) -> LoadedData:
    card = resolve_dataset(spec)
    return load(prepare(card, raw, tmp_path / "out"), card)


def assert_frame(data: LoadedData, frame: pd.DataFrame, labels: pd.Series, min_count: int) -> None:
    """Each field's ids against ranks of the values that are frequent in train."""
    n_rows = len(frame)
    assert sum(data.split_rows.values()) == n_rows
    assert data.schema.names == tuple(frame.columns)
    ids = np.empty((n_rows, frame.shape[1]), dtype=np.int64)
    for part in (data.train, data.valid, data.test):
        ids[part.index] = part.ids
        np.testing.assert_array_equal(part.labels, labels.to_numpy()[part.index])
        assert abs(part.labels.mean() - labels.mean()) < 1 / len(part)
    train = frame.iloc[data.train.index.numpy()]
    for f, name in enumerate(frame.columns):
        counts = train[name].value_counts()
        kept = sorted(counts[counts >= min_count].index)
        ranks = pd.Index(kept).get_indexer(frame[name])
        expected = np.select([frame[name].isna(), ranks >= 0], [1, 2 + ranks], 0)
        np.testing.assert_array_equal(ids[:, f] - data.schema.offsets[f], expected, err_msg=name)


def test_criteo(tmp_path):
    raw = sample("criteo_kaggle_10k.tsv.gz")
    names = ["y", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    frame = pd.read_csv(raw, sep="\t", header=None, names=names, dtype=dict.fromkeys(names[14:], str))
    data = opened("criteo", raw, tmp_path)
    for name in names[1:14]:
        x = frame[name]
        bucket = np.floor(np.log(x.where(x > 2, 3)) ** 2)
        frame[name] = x.where(x.isna() | (x <= 2), 1000 + bucket)
    assert data.split_rows == {"train": 7200, "valid": 1800, "test": 1000}
    assert_frame(data, frame[names[1:]], frame["y"], 10)


def test_avazu(tmp_path):
    raw = sample("avazu_first9999.csv.gz")
    frame = pd.read_csv(raw, dtype=str)
    labels = frame.pop("click").astype(int)
    time = pd.to_datetime(frame.pop("hour"), format="%y%m%d%H").dt
    weekday = time.day_of_week
    parts = {
        "hour": time.hour.astype(str),
        "weekday": weekday.astype(str),
        "weekend": (weekday > 4).astype(int).astype(str),
    }
    frame = pd.concat([pd.DataFrame(parts), frame.drop(columns="id")], axis=1)
    assert frame.shape[1] == 24
    assert_frame(opened("avazu", raw, tmp_path), frame, labels, 2)


def member(path, name):
    with tarfile.open(path) as tar:
        return tar.extractfile(next(one for one in tar if one.name.endswith("/" + name))).read()


def frame_of(path, name, sep, columns):
    lines = member(path, name).decode("latin-1").split("\n")
    return pd.DataFrame([line.split(sep) for line in lines if line], columns=columns, dtype=object)


def test_movielens_latest_small(tmp_path):
    raw = sample("movielens_latest_small.tar.gz")
    with tarfile.open(raw) as tar:
        tar.extractall(tmp_path / "raw", filter="data")
    folder = tmp_path / "raw" / "movielens_latest_small"
    ratings = pd.read_csv(folder / "ratings.csv", dtype=str)
    movies = pd.read_csv(folder / "movies.csv", dtype=str)
    movies["release_year"] = movies["title"].str.strip().str.extract(r"\((\d{4})\)$", expand=False)
    frame = ratings.merge(movies, on="movieId", how="left")
    time = pd.to_datetime(frame["timestamp"].astype(np.int64), unit="s").dt
    frame = frame.rename(columns={"userId": "user", "movieId": "movie"}).assign(
        rating_year=time.year.astype(str), weekday=time.day_of_week.astype(str), hour=time.hour.astype(str)
    )
    labels = (frame["rating"].astype(float) >= 4).astype(int)
    data = opened("movielens-latest-small", raw, tmp_path)
    made = manifest_of(tmp_path / "out")
    columns = ["user", "movie", "genres", "release_year", "rating_year", "weekday", "hour"]
    assert_frame(data, frame[columns], labels, 1)
    opened("movielens-latest-small", folder, tmp_path)
    assert manifest_of(tmp_path / "out")["files"] == made["files"]


def test_movielens_100k(tmp_path):
    raw = sample("movielens_100k.tar.gz")
    ratings = frame_of(raw, "u.data", "\t", ["user", "movie", "rating", "timestamp"])
    genre_names = frame_of(raw, "u.genre", "|", ["genre", "place"])["genre"].tolist()
    items = frame_of(raw, "u.item", "|", ["movie", "title", "date", "video", "url", *genre_names])
    flags = items[genre_names] == "1"
    items["genres"] = flags.apply(lambda row: "|".join(name for name in genre_names if row[name]), axis=1)
    items["release_year"] = items["date"].str[-4:].replace("", None)
    users = frame_of(raw, "u.user", "|", ["user", "age", "gender", "occupation", "zip"])
    frame = ratings.merge(items, on="movie", how="left").merge(users, on="user", how="left")
    time = pd.to_datetime(frame["timestamp"].astype(np.int64), unit="s").dt
    frame = frame.assign(weekday=time.day_of_week.astype(str), hour=time.hour.astype(str))
    columns = ["user", "movie", "genres", "release_year", "gender", "age", "occupation", "zip", "weekday", "hour"]
    labels = (frame["rating"].astype(int) >= 4).astype(int)
    assert_frame(opened("movielens-100k", raw, tmp_path), frame[columns], labels, 1)


@pytest.mark.slow
def test_movielens_1m(tmp_path):
    raw = sample("movielens_1m.tar.gz")
    columns = ["user", "movie", "genres", "release_year", "gender", "age", "occupation", "zip"]
    ratings = frame_of(raw, "ratings_no_timestamp.dat", "::", ["user", "movie", "rating"])
    movies = frame_of(raw, "movies.dat", "::", ["movie", "title", "genres"])
    movies["release_year"] = movies["title"].str.extract(r"\((\d{4})\)$", expand=False)
    users = frame_of(raw, "users.dat", "::", ["user", "gender", "age", "occupation", "zip"])
    frame = ratings.merge(movies, on="movie", how="left").merge(users, on="user", how="left")
    labels = (frame["rating"].astype(int) >= 4).astype(int)
    assert_frame(opened("movielens-1m", raw, tmp_path), frame[columns], labels, 1)


def assert_in_time(data: LoadedData, times: np.ndarray, cuts: tuple[int, int]) -> None:
    """No row of a split is later than one of the next, equal times in file order; splits end at ``cuts``."""
    rows = [part.index.numpy() for part in (data.train, data.valid, data.test)]
    assert [len(part) for part in rows] == [cuts[0], cuts[1] - cuts[0], len(times) - cuts[1]]
    for earlier, later in itertools.pairwise(rows):
        last, first = times[earlier].max(), times[later].min()
        assert last <= first
        if last == first:
            assert earlier[times[earlier] == last].max() < later[times[later] == first].min()


def test_temporal_criteo(tmp_path):
    data = opened("criteo[split=temporal]", sample("criteo_kaggle_10k.tsv.gz"), tmp_path)
    assert_in_time(data, np.arange(10_000), (7200, 9000))


def test_temporal_avazu_of_one_hour(tmp_path):
    raw = sample("avazu_first9999.csv.gz")
    times = pd.read_csv(raw, usecols=["hour"])["hour"].to_numpy()
    assert len(set(times)) == 1
    assert_in_time(opened("avazu[split=temporal]", raw, tmp_path), times, (7999, 8999))


def test_temporal_avazu_of_ten_days(tmp_path):
    frame = pd.read_csv(sample("avazu_first9999.csv.gz"), dtype=str)
    days = np.random.default_rng(0).choice(10, len(frame), p=[0.09] * 9 + [0.19])
    frame["hour"] = [f"1410{21 + day}{day % 7:02d}" for day in days]
    frame.to_csv(tmp_path / "train.csv", index=False)
    data = opened("avazu[split=temporal]", tmp_path / "train.csv", tmp_path)
    found = [sorted(set(days[part.index.numpy()])) for part in (data.train, data.valid, data.test)]
    assert found == [[*range(8)], [8], [9]]


@pytest.mark.parametrize(
    ("name", "raw"),
    [("movielens-100k", "movielens_100k.tar.gz"), ("movielens-latest-small", "movielens_latest_small.tar.gz")],
)
def test_temporal_movielens(tmp_path, name, raw):
    path = sample(raw)
    if name == "movielens-100k":
        times = frame_of(path, "u.data", "\t", ["user", "movie", "rating", "time"])["time"].astype(np.int64).to_numpy()
    else:
        times = np.array([int(line.rpartition(b",")[2]) for line in member(path, "ratings.csv").splitlines()[1:]])
    n = len(times)
    data = opened(f"{name}[split=temporal]", path, tmp_path)
    assert_in_time(data, times, (int(0.8 * n + 0.5), int(0.9 * n + 0.5)))


def test_temporal_movielens_1m_without_timestamps_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no column 'Timestamp'"):
        opened("movielens-1m[split=temporal]", sample("movielens_1m.tar.gz"), tmp_path)
