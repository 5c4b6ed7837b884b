from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zipfile

import pytest

from bench.data.raw.sources import RawSource
from bench.errors import DataError

DATA = b"1\ta\n0\tb\n" * 2000


def tar_of(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def read(path, patterns=("train.txt", "*.tsv")):
    with RawSource(path) as source:
        member = source.names()[0] if source.is_single else source.find(patterns)
        return source.stream(member).read(-1), source.fingerprints()


def test_every_container_gives_the_same_bytes(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "train.txt").write_bytes(DATA)
    (folder / "readme.txt").write_bytes(b"no data")
    (tmp_path / "rows").write_bytes(DATA)
    (tmp_path / "rows.gz").write_bytes(gzip.compress(DATA))
    members = {"readme.txt": b"no data", "dac/train.txt": DATA}
    paths = [
        folder,
        tmp_path / "rows",
        tmp_path / "rows.gz",
        tar_of(tmp_path / "a.tar.gz", members),
        zip_of(tmp_path / "a.zip", members),
        zip_of(tmp_path / "b.zip", {"train.txt.gz": gzip.compress(DATA)}),
    ]
    for path in paths:
        data, prints = read(path)
        assert data == DATA, path
        file = folder / "deep" / "train.txt" if path == folder else path
        expected = hashlib.sha256(file.read_bytes()).hexdigest()
        assert [(one["sha256"], one["bytes"]) for one in prints] == [(expected, file.stat().st_size)]
        assert "/" not in str(prints[0]["name"]) or path == folder


def test_the_earliest_pattern_wins_and_two_equal_members_are_refused(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"x.tsv": b"1", "train.txt": b"2"})
    assert read(path)[0] == b"2"
    path = zip_of(tmp_path / "b.zip", {"x.tsv": b"1", "y.tsv": b"2"})
    with pytest.raises(DataError, match=r"b.zip: x.tsv and y.tsv both match '\*.tsv'; pass the file that is the table"):
        read(path)


def test_a_tar_is_read_no_further_than_its_table(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", {"train.txt": DATA, "test.txt": os.urandom(100_000)})
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(path.read_bytes()[:50_000])
    assert read(cut)[0] == DATA


def test_side_tables_and_the_table_can_be_read_in_any_order(tmp_path):
    members = {"users.dat": b"u\xe9", "train.txt": DATA, "movies.dat": b"m"}
    for path in (tar_of(tmp_path / "a.tar.gz", members), zip_of(tmp_path / "a.zip", members)):
        with RawSource(path) as source:
            assert source.find(("movies.dat",)) == "movies.dat"
            assert source.text("movies.dat", "utf-8") == "m"
            assert source.text(source.find(("users.dat",)), "latin-1") == "ué"
            assert source.stream(source.find(("train.txt",))).read(-1) == DATA
            with pytest.raises(DataError, match=r"users.dat: line 1 is not utf-8 text"):
                source.text("users.dat", "utf-8")


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["rows.gz", "a.tar.gz", "a.zip"])
def test_a_cut_file_is_an_error_that_says_so(tmp_path, kind, keep):
    noise = os.urandom(20_000).hex().encode()
    path = tmp_path / kind
    if kind == "rows.gz":
        path.write_bytes(gzip.compress(noise))
    else:
        (tar_of if "tar" in kind else zip_of)(path, {"train.txt": noise})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(DataError, match=r"the file is cut short or damaged .*; fetch it again"):
        read(path)


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"none.txt: there is no such file; check the path"):
        RawSource(tmp_path / "none.txt")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty: the file is empty"):
        RawSource(tmp_path / "empty")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match=r"loop: cannot be read .Too many levels"):
        RawSource(loop)
