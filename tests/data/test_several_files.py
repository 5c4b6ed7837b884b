"""Several files as one table, and test rows from files of their own."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of, plain_hash, plain_split, write_card
from test_containers import tar_of, zip_of

from bench.data.prepare.prepare import Settings, prepare
from bench.data.store.store import Store
from bench.errors import ConfigError, DataError

CARD = """
name = "mine"
[raw]
files = {files}
join = {join}
[raw.columns]
y = "label"
c = "categorical"
x = "numeric"
[split]
{split}
"""
SHARES = "train = 0.8\nvalid = 0.1\ntest = 0.1"


def frame(n=90, seed=0, values="abcd"):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"y": rng.integers(0, 2, n), "c": rng.choice(list(values), n), "x": rng.normal(size=n)})


def card(folder, files='["*.csv"]', join="true", split=SHARES, **overrides):
    return write_card(folder, CARD.format(files=files, join=join, split=split), **overrides)


@pytest.fixture
def parts(tmp_path) -> Path:
    """A folder of three parts of one table, the second with its columns in another order."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for place, name in enumerate(("part-0", "part-1", "part-2")):
        one = frame(60 + place, place)
        one[list("xyc") if place == 1 else list("ycx")].to_csv(folder / f"{name}.csv", index=False)
    return folder


def whole(folder, order=(0, 1, 2)):
    """The parts as one frame."""
    return pd.concat([frame(60 + place, place) for place in order])


def files_of(store):
    return manifest_of(store)["files"]


@pytest.fixture
def expected(tmp_path):
    """The checksums of the store of the parts as one file, in an order."""

    def made(order=(0, 1, 2)):
        whole(tmp_path, order).to_csv(tmp_path / "whole.csv", index=False)
        return files_of(prepare(card(tmp_path), tmp_path / "whole.csv", tmp_path / "expected"))

    return made


@pytest.mark.parametrize("chunk_bytes", [200, 1 << 20])
def test_a_pattern_reads_all_parts_by_name(tmp_path, parts, expected, chunk_bytes):
    store = prepare(card(tmp_path), parts, tmp_path / "out", settings=Settings(chunk_bytes=chunk_bytes, threads=3))
    assert files_of(store) == expected()
    assert manifest_of(store)["notes"] == ["rows of part-0.csv (60), part-1.csv (61), part-2.csv (62)."]
    assert [one["name"] for one in manifest_of(store)["raw"]] == ["part-0.csv", "part-1.csv", "part-2.csv"]


def test_names_are_read_in_their_order(tmp_path, parts, expected):
    names = '["part-2.csv", "part-0.csv", "part-1.csv"]'
    assert files_of(prepare(card(tmp_path, names), parts, tmp_path / "out")) == expected((2, 0, 1))
    some = '["part-1.csv", "part-*.csv"]'
    assert files_of(prepare(card(tmp_path, some), parts, tmp_path / "out")) == expected((1, 0, 2))


def test_parts_of_archives_and_compressed_ones(tmp_path, parts, expected):
    members = {path.name: path.read_bytes() for path in sorted(parts.iterdir(), reverse=True)}
    packed = {"zip": zip_of(members), "tar": tar_of(members), "tar.gz": gzip.compress(tar_of(members))}
    packed["gz in zip"] = zip_of({f"{name}.gz": gzip.compress(data) for name, data in members.items()})
    for data in packed.values():
        (tmp_path / "t").write_bytes(data)
        assert files_of(prepare(card(tmp_path), tmp_path / "t", tmp_path / "out")) == expected()


def test_parts_may_be_parquet(tmp_path, parts, expected):
    pd.read_csv(parts / "part-1.csv").to_parquet(parts / "part-1.csv", index=False)
    assert files_of(prepare(card(tmp_path), parts, tmp_path / "out")) == expected()


def test_files_named_one_by_one_are_parts_whatever_the_card_calls_them(tmp_path, parts, expected):
    mine = card(tmp_path, '["other.csv"]', "false")
    paths = [parts / f"part-{place}.csv" for place in (1, 2, 0)]
    store = prepare(mine, paths, tmp_path / "out")
    assert files_of(store) == expected((1, 2, 0))
    assert [one["name"] for one in manifest_of(store)["raw"]] == [path.name for path in paths]


def test_another_header_is_an_error_that_names_the_file(tmp_path, parts):
    (parts / "part-1.csv").write_text("y,c,z\n0,a,1\n")
    with pytest.raises(DataError, match=r"part-1.csv: the header lacks the column 'x'; it reads: y, c, z"):
        prepare(card(tmp_path), parts, tmp_path / "out")
    (parts / "part-1.csv").write_text("y,c,x,z\n0,a,1,1\n")
    with pytest.raises(DataError, match=r"part-1.csv: the header has columns that the card does not name: 'z'"):
        prepare(card(tmp_path), parts, tmp_path / "out")


def test_errors_give_the_line_of_the_part(tmp_path, parts):
    lines = (parts / "part-2.csv").read_text().splitlines()
    lines[7] = "0,a,b"
    (parts / "part-2.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"part-2.csv: line 8, column 'x': 'b' is not a number"):
        prepare(card(tmp_path), parts, tmp_path / "out", settings=Settings(chunk_bytes=100))


def test_a_part_that_is_not_there_is_missed(tmp_path, parts):
    with pytest.raises(DataError, match=r"holds part-0.csv and part-1.csv, but no part-9.csv"):
        prepare(card(tmp_path, '["part-0.csv", "part-1.csv", "part-9.csv"]'), parts, tmp_path / "out")


def test_a_part_that_is_there_twice_is_refused(tmp_path, parts):
    (parts / "part-0.csv.gz").write_bytes(gzip.compress((parts / "part-0.csv").read_bytes()))
    with pytest.raises(DataError, match=r"part-0.csv and part-0.csv.gz seem to be one part"):
        prepare(card(tmp_path), parts, tmp_path / "out")
    (parts / "part-0.csv.gz").unlink()
    (parts / "deep").mkdir()
    shutil.copy(parts / "part-0.csv", parts / "deep")
    with pytest.raises(DataError, match=r"are both called 'part-0.csv'"):
        prepare(card(tmp_path, '["part-0.csv"]'), parts, tmp_path / "out")
    with pytest.raises(DataError, match="is given twice"):
        prepare(card(tmp_path), [parts / "part-0.csv"] * 2, tmp_path / "out")


@pytest.mark.parametrize("bad", ["folder", "empty", "zip"])
def test_what_is_no_table_among_files_named_one_by_one(tmp_path, parts, bad):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "zip").write_bytes(zip_of({"t.csv": (parts / "part-0.csv").read_bytes()}))
    with pytest.raises(DataError, match=f"{bad}: (is a folder|the file is empty|is a zip archive)"):
        prepare(card(tmp_path), [parts / "part-0.csv", tmp_path / bad], tmp_path / "out")


def test_many_parts_are_not_open_at_once(tmp_path):
    resource = pytest.importorskip("resource")
    folder = tmp_path / "parts"
    folder.mkdir()
    n = 200
    for place in range(n):
        frame(5, place).to_csv(folder / f"{place:03d}.csv", index=False)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 120), limits[1]))
    try:
        assert manifest_of(prepare(card(tmp_path), folder, tmp_path / "out"))["n_rows"] == 5 * n
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


OWN_TEST = 'train = 0.6\nvalid = 0.2\ntest = { files = ["test.csv"] }'


@pytest.fixture
def own_test(tmp_path, parts):
    """The parts, and a test file with a value that they do not have."""
    frame(40, 9, "abz").to_csv(parts / "test.csv", index=False)
    return prepare(card(tmp_path, split=OWN_TEST), parts, tmp_path / "out")


def test_rows_of_the_test_file_are_the_test_split(tmp_path, own_test):
    labels = np.concatenate([whole(tmp_path).y, frame(40, 9).y]).tolist()
    main = plain_split(labels[:183], 0, ["3/4", "1/4"])  # 0.6 and 0.2 of what they sum to
    np.testing.assert_array_equal(np.load(own_test / "split.npy"), main + [2] * 40)
    np.testing.assert_array_equal(np.load(own_test / "labels.npy"), labels)
    manifest = manifest_of(own_test)
    assert manifest["split_rows"] == {"train": main.count(0), "valid": main.count(1), "test": 40}
    assert manifest["notes"][0].endswith("; test rows of test.csv (40).")


def test_the_vocabulary_comes_from_the_train_rows_alone(tmp_path, own_test):
    ids = np.load(own_test / "ids.npy")[183:, 0]
    np.testing.assert_array_equal(ids == 0, frame(40, 9, "abz").c == "z")


def test_rows_keep_the_test_file_apart(tmp_path, own_test):
    n, n_main, wanted = 223, 183, 100
    store = Store(own_test, card(tmp_path, split=OWN_TEST), wanted)
    chosen = sorted(sorted(range(n), key=lambda row: plain_hash(0, row))[:wanted])
    labels = np.load(own_test / "labels.npy")
    main = [row for row in chosen if row < n_main]
    split = plain_split(labels[main].tolist(), 0, ["3/4", "1/4"], main)
    np.testing.assert_array_equal(store.splits, split + [2] * (wanted - len(main)))
    np.testing.assert_array_equal(store.labels, labels[chosen])


def test_the_shares_of_the_rest_have_defaults(tmp_path, parts):
    frame(40, 9).to_csv(parts / "test.csv", index=False)
    mine = card(tmp_path, split='test = { files = ["test.csv"] }')
    split = np.load(prepare(mine, parts, tmp_path / "out") / "split.npy")
    labels = whole(tmp_path).y.tolist()
    np.testing.assert_array_equal(split[:183], plain_split(labels, 0, ["8/9", "1/9"]))


def test_one_table_and_one_test_file(tmp_path, parts):
    shutil.copy(parts / "part-0.csv", tmp_path / "train.csv")
    shutil.copy(parts / "part-1.csv", tmp_path / "test.csv")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("train.csv", "test.csv"):
        shutil.copy(tmp_path / name, folder)
    mine = card(tmp_path, join="false", split=OWN_TEST)  # its *.csv would match both
    found = [
        files_of(prepare(mine, raw, tmp_path / "out"))
        for raw in (
            folder,
            [tmp_path / "train.csv", tmp_path / "test.csv"],
            [tmp_path / "test.csv", tmp_path / "train.csv"],
        )
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("raw", ["parts", "parts/part-0.csv"])
def test_a_test_file_that_is_not_there_is_missed(tmp_path, parts, raw):
    with pytest.raises(DataError, match=r"\[split\] test of the card names test.csv, which is not there"):
        prepare(card(tmp_path, split=OWN_TEST), tmp_path / raw, tmp_path / "out")


def test_a_test_file_alone_is_refused(tmp_path, parts):
    shutil.copy(parts / "part-0.csv", parts / "test.csv")
    with pytest.raises(DataError, match="is the test file alone"):
        prepare(card(tmp_path, split=OWN_TEST), parts / "test.csv", tmp_path / "out")


def test_a_test_file_without_labels_or_rows_is_refused(tmp_path, parts):
    frame(40)[["c", "x"]].to_csv(parts / "test.csv", index=False)
    with pytest.raises(DataError, match=r"test.csv: the header lacks the column 'y'.*the label among them"):
        prepare(card(tmp_path, split=OWN_TEST), parts, tmp_path / "out")
    (parts / "test.csv").write_text("y,c,x\n")
    with pytest.raises(DataError, match=r"test.csv: there are no rows below the header"):
        prepare(card(tmp_path, split=OWN_TEST), parts, tmp_path / "out")


def test_a_test_file_of_one_label_is_refused(tmp_path, parts):
    frame(40).assign(y=1).to_csv(parts / "test.csv", index=False)
    with pytest.raises(DataError, match=r"the test split has 40 rows and 40 of label 1.*the card's test files"):
        prepare(card(tmp_path, split=OWN_TEST), parts, tmp_path / "out")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("test = { files = [] }", r"files = \[\] names no file"),
        ('test = { file = "test.csv" }', "the key 'files' is missing"),
        ('train = 0\ntest = { files = ["test.csv"] }', "must be above 0"),
        ('train = nan\ntest = { files = ["test.csv"] }', "must be above 0"),
    ],
)
def test_cards_that_cannot_be(tmp_path, split, message):
    with pytest.raises(ConfigError, match=message):
        card(tmp_path, split=split)


def test_a_split_by_time_and_a_test_file_exclude_each_other(tmp_path):
    order = '[time]\norder = "file"'
    with pytest.raises(ConfigError, match="split=temporal takes the latest rows for the test split"):
        write_card(tmp_path, CARD.format(files="[]", join="false", split=f"{OWN_TEST}\n{order}"), split="temporal")


def test_the_command_takes_several_files_and_patterns(bench, tmp_path, parts):
    card(tmp_path)
    shutil.copy(tmp_path / "own.toml", "own.toml")
    shutil.copytree(parts, "parts")
    made = bench("prepare", "own.toml", "--raw", "parts/part-*.csv").out
    assert made.startswith("data/mine: 183 rows")
    files = [f"parts/part-{place}.csv" for place in range(3)]
    for raw in (["--raw", *files], ["--raw", files[0], "--raw", files[1], "--raw", files[2]], ["--raw", "parts"]):
        assert "data/mine is there already (183 rows)" in bench("prepare", "own.toml", *raw).err
    again = bench("prepare", "own.toml", "--raw", *files[:2])
    assert again.code == 2
    assert "not from part-0.csv, part-1.csv as they are; --force replaces it" in again.err
    assert "there is no such file" in bench("prepare", "own.toml", "--raw", "parts/other-*.csv").err
    assert "data/mine is there already" in bench("prepare", "--data-dir", "data", "--raw", "parts", "own.toml").err
