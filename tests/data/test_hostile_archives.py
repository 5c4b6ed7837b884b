"""Archives made to do harm: they end with a message, and with as little on disk and in memory as other tables."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections import namedtuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_reference import manifest_of, write_card
from test_containers import CARD, PACK, TEXT, parquet_of, tar_of, zip_of

from bench.data.prepare.prepare import Settings, prepare
from bench.data.raw import chunks, compression, header, sources
from bench.errors import ConfigError, DataError

MIB = 1 << 20
RATIO = 100
ROW = b"0," + b"a" * 1022 + b"\n1," + b"b" * 1022 + b"\n"
LARGE = b"y,c\n" + ROW * 2048  # 4 MiB, of which every compression makes less than a 100th


@pytest.fixture
def small(monkeypatch):
    """What any file may unpack to: 1 MiB instead of 1 GiB, so that a bomb can be small."""
    monkeypatch.setattr(compression, "FREE_BYTES", MIB)


@pytest.fixture
def make(tmp_path):
    def make(data, name="t", files='["t.csv"]', raw=""):
        path = tmp_path / name
        path.write_bytes(data)
        card = write_card(tmp_path, CARD.format(files=files).replace("[raw]", f"[raw]\n{raw}"))
        return manifest_of(prepare(card, path, tmp_path / "data" / "out", settings=Settings(chunk_bytes=MIB)))

    return make


@pytest.fixture
def refused(make, tmp_path):
    """The message on ``data``, of which nothing is left."""

    def refused(data, **how):
        there = sorted(tmp_path.glob("data/**/*"))
        with pytest.raises(DataError) as caught:
            make(data, **how)
        assert sorted(tmp_path.glob("data/**/*")) == there
        return str(caught.value)

    return refused


def tar_with(*entries):
    """A tar of a table and of entries (name, type, target)."""
    sink = io.BytesIO(tar_of({"t.csv": TEXT}))
    with tarfile.open(fileobj=sink, mode="a") as tar:
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return sink.getvalue()


OUTSIDE = ["../t.csv", "/etc/t.csv", "a/../../t.csv", "..\\t.csv", "C:\\t.csv", "\\\\host\\t.csv"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("archive", [tar_of, zip_of])
def test_a_name_that_leads_out_of_the_archive_is_ignored_and_named(make, refused, name, archive):
    message = refused(archive({name: TEXT}))
    assert "it holds nothing" in message
    assert "is ignored: its name leads out of the archive" in message
    [note] = make(archive({name: TEXT, "t.csv": TEXT}))["notes"]
    assert "leads out of the archive" in note


@pytest.mark.parametrize("name", ["a..csv/t.csv", "t..csv", "a:b/t.csv", "./t.csv"])
def test_dots_and_colons_inside_a_name_are_plain(make, name):
    assert make(tar_of({name: TEXT}), files='["*.csv"]')["notes"] == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.SYMTYPE, "it is a link"),
        (tarfile.LNKTYPE, "it is a link"),
        (tarfile.CHRTYPE, "it is no plain file"),
        (tarfile.BLKTYPE, "it is no plain file"),
        (tarfile.FIFOTYPE, "it is no plain file"),
    ],
)
def test_links_devices_and_pipes_of_a_tar_are_ignored_and_named(make, refused, kind, why):
    data = tar_with(("u.csv", kind, "/etc/passwd"))
    assert make(data)["notes"] == [f"t: u.csv is ignored: {why}."]
    assert f"u.csv is ignored: {why}" in refused(data, files='["u.csv"]')


@pytest.mark.parametrize(("mode", "why"), [(stat.S_IFLNK, "it is a link"), (stat.S_IFIFO, "it is no plain file")])
def test_links_and_pipes_of_a_zip_are_ignored_and_named(make, refused, mode, why):
    sink = io.BytesIO(zip_of({"t.csv": TEXT}))
    with zipfile.ZipFile(sink, "a") as archive:
        info = zipfile.ZipInfo("u.csv")
        info.external_attr = (mode | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert make(sink.getvalue())["notes"] == [f"t: u.csv is ignored: {why}."]
    assert why in refused(sink.getvalue(), files='["u.csv"]')


BOMBS = {
    "gz": gzip.compress(LARGE),
    "bz2": bz2.compress(LARGE),
    "xz": lzma.compress(LARGE),
    "zst": PACK["zst"](LARGE),
    "lz4": PACK["lz4"](LARGE),
    "gz in gz": gzip.compress(gzip.compress(LARGE)),
    "bz2 in xz": lzma.compress(bz2.compress(LARGE)),
    "zip": zip_of({"t.csv": LARGE}),
    "gz in zip": zip_of({"t.csv.gz": gzip.compress(LARGE)}),
    "tar.gz": gzip.compress(tar_of({"t.csv": LARGE})),
    "tar.zst": PACK["zst"](tar_of({"t.csv": LARGE})),
    "before the table": gzip.compress(tar_of({"large": LARGE, "t.csv": TEXT})),
    "behind the table": gzip.compress(tar_of({"t.csv": TEXT, "large": LARGE})),
    "parquet in gz": gzip.compress(parquet_of(LARGE) + bytes(4 * MIB)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_unpacks_to_more_than_its_bound_ends_with_a_message(small, refused, bomb):
    data = BOMBS[bomb]
    assert len(data) * RATIO < len(LARGE)
    message = refused(data)
    assert f"unpacks to over {RATIO} times its {len(data):,} bytes" in message
    assert "max_expansion = 1000 under [raw]" in message


@pytest.mark.parametrize("bomb", ["gz", "zip", "tar.zst", "bz2 in xz"])
def test_the_card_can_allow_more(small, make, bomb):
    n_rows = 2 * 2048
    assert make(BOMBS[bomb], raw="max_expansion = 100_000")["n_rows"] == n_rows


def test_up_to_a_gibibyte_any_table_is_read_however_small_it_is_packed(make):
    assert len(BOMBS["bz2"]) * RATIO < len(LARGE) < compression.FREE_BYTES
    assert make(BOMBS["bz2"])["n_rows"] == 2 * 2048


def test_a_limit_below_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="max_expansion = 0 must be at least 1"):
        write_card(tmp_path, CARD.format(files="[]").replace("[raw]", "[raw]\nmax_expansion = 0"))


def test_a_sparse_member_of_a_tar_counts_with_its_holes(small, refused):
    """GNU's old sparse format: the header says where data lie and how large the file is; here all is one hole."""
    header = bytearray(tar_of({"t.csv": b""}, tarfile.GNU_FORMAT)[:512])
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = f"{1 << 32:011o}\0".encode()
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    assert "unpacks to over" in refused(bytes(header) + bytes(1024))


def test_a_zip_never_gives_more_than_it_declares(make, refused):
    def declaring(size):
        return zip_of({"t.csv": LARGE}).replace(len(LARGE).to_bytes(4, "little"), size.to_bytes(4, "little"))

    assert "cut short or damaged" in refused(declaring(len(LARGE) // 2))
    assert make(declaring(len(LARGE) * 2))["n_rows"] == 2 * 2048


def test_a_parquet_table_of_a_few_bytes_and_many_rows_ends_with_a_message(small, make, refused):
    n = MIB  # a run of one value costs nothing
    table = pa.table({"y": pa.array([0] * (n // 2) + [1] * (n // 2), pa.int8()), "c": pa.array(["a"] * n)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert len(sink.getvalue()) * RATIO < 2 * 2 * n  # two columns, and at least two letters a value
    assert "unpacks to over" in refused(sink.getvalue())
    assert make(sink.getvalue(), raw="max_expansion = 100_000", files="[]")["n_rows"] == n


def test_the_copy_of_a_packed_parquet_table_leaves_half_the_disk(refused, make, monkeypatch):
    data = parquet_of()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda _: usage(1 << 40, 0, 2 * len(data) - 1))
    assert "more than half of what is free" in refused(gzip.compress(data))
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda _: usage(1 << 40, 0, 2 * len(data)))
    assert make(gzip.compress(data))["n_rows"] == TEXT.count(b"\n") - 1


@pytest.mark.parametrize("raw", ["newlines_in_values = true", ""])
@pytest.mark.parametrize(("head", "line"), [(b"", 1), (b"y,c\n", 2), (b"y,c\n0,a\n1,", 3)])
def test_a_line_that_never_ends_is_given_up(refused, monkeypatch, head, line, raw):
    monkeypatch.setattr(chunks, "LONGEST_ROW", MIB)
    monkeypatch.setattr(header, "LONGEST_ROW", MIB)
    message = refused(gzip.compress(head + b"x" * (3 * MIB)), raw=raw)
    assert f"line {line} is longer than {MIB} bytes" in message
