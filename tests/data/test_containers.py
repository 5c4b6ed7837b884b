"""Files as people have them: compressed and packed in every way, with what systems leave beside them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import sqlite3
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_reference import manifest_of, write_card
from pyarrow import feather, orc

from bench.data.prepare.prepare import prepare
from bench.data.raw.sources import RawSource
from bench.errors import DataError

CARD = """
name = "mine"
[raw]
files = {files}
[raw.columns]
y = "label"
c = "categorical"
"""
ROWS = "".join(f"{i % 2},{'abc'[i % 3]}\n" for i in range(90))
TEXT = f"y,c\n{ROWS}".encode()


class Kept(io.BytesIO):
    def close(self):
        """Keep the bytes: pyarrow closes what it writes to."""


def by_arrow(codec):
    def pack(data):
        sink = Kept()
        with pa.CompressedOutputStream(pa.PythonFile(sink, mode="w"), codec) as out:
            out.write(data)
        return sink.getvalue()

    return pack


def parquet_of(text=TEXT):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(pd.read_csv(io.BytesIO(text))), sink)
    return sink.getvalue()


PACK = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": by_arrow("zstd"),
    "lz4": by_arrow("lz4"),
}
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"


def tar_of(members, form=tarfile.PAX_FORMAT):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def old_tar_of(name, data):
    """A tar of 1979: no magic, only the header's checksum."""
    header = bytearray(512)
    for start, text in ((0, name), (100, "0000644"), (124, f"{len(data):011o}"), (136, "00000000000"), (156, "0")):
        header[start : start + len(text)] = text.encode()
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + data + b"\0" * (-len(data) % 512 + 1024)


def zip_of(members, method=zipfile.ZIP_DEFLATED):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


@pytest.fixture
def files_of(tmp_path):
    def read(data, name="t", files='["t.csv"]', text=CARD):
        """The checksums of the store that ``data``, in a file ``name``, gives."""
        path = tmp_path / name
        path.write_bytes(data)
        card = write_card(tmp_path, text.format(files=files))
        return manifest_of(prepare(card, path, tmp_path / "out"))["files"]

    return read


@pytest.fixture
def expected(files_of):
    return files_of(TEXT)


@pytest.mark.parametrize("name", ["t", "t.csv", "rows.tar.csv", "x.target.csv", "t.tgz", "t.zip", "t.parquet", "t.gz"])
def test_the_name_does_not_say_what_a_file_is(files_of, expected, name):
    assert files_of(TEXT, name) == expected
    assert files_of(gzip.compress(TEXT), name) == expected
    assert files_of(parquet_of(), name) == expected
    assert files_of(zip_of({"t.csv": TEXT}), name) == expected
    assert files_of(gzip.compress(tar_of({"t.csv": TEXT})), name) == expected


@pytest.mark.parametrize(
    "first", ["PK", "PAR1", "BZh", "BZh9", "Rar!", "ORC", "Obj", "PARE", "LZIP", "x" * 257 + "ustar"]
)
def test_a_text_that_begins_like_another_format_is_text(files_of, first):
    rows = "".join(f"{'abc'[i % 3]},{i % 2}\n" for i in range(90))
    found = []
    for name in (first, "plain"):
        card = CARD.replace('c = "categorical"', f'"{name}" = {{{{ kind = "categorical", field = "c" }}}}')
        found.append(files_of(f"{name},y\n{rows}".encode(), text=card))
        assert files_of(gzip.compress(f"{name},y\n{rows}".encode()), text=card) == found[0]
    assert found[0] == found[1]


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_compressed_tables_are_read_whole(files_of, expected, pack):
    half = len(TEXT) // 2
    parts = pack(TEXT[:half]) + pack(b"") + pack(TEXT[half:])
    for data in (pack(TEXT), parts, gzip.compress(pack(TEXT))):
        assert files_of(data) == expected
    assert files_of(pack(parquet_of())) == expected
    assert files_of(pack(tar_of({"readme": b"?", "t.csv": TEXT}))) == expected


def test_frames_that_are_skipped_come_first(files_of, expected):
    assert files_of(SKIPPABLE + PACK["zst"](TEXT)) == expected


@pytest.mark.parametrize("suffix", ["", *(f".{name}" for name in PACK), ".BZ2"])
@pytest.mark.parametrize("table", [TEXT, parquet_of()], ids=["text", "parquet"])
def test_compressed_members_of_archives_and_folders(tmp_path, files_of, expected, suffix, table):
    data = PACK[suffix[1:].lower()](table) if suffix else table
    members = {"a/readme": b"?", f"a/t.csv{suffix}": data}
    assert files_of(zip_of(members)) == expected
    assert files_of(zip_of(members, zipfile.ZIP_STORED)) == expected
    assert files_of(PACK["zst"](tar_of(members)), files='["*.csv"]') == expected
    assert files_of(PACK["xz"](tar_of(members)), files=f'["t.csv{suffix}"]') == expected
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / f"t.csv{suffix}").write_bytes(data)
    card = write_card(tmp_path, CARD.format(files='["t.csv"]'))
    manifest = manifest_of(prepare(card, folder, tmp_path / "out"))
    assert manifest["files"] == expected
    assert [one["name"] for one in manifest["raw"]] == [f"t.csv{suffix}"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*expected, "manifest.json"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar(files_of, expected, form):
    assert files_of(tar_of({"a/readme": b"?", "ü/t.csv": TEXT}, form)) == expected
    assert files_of(old_tar_of("t.csv", TEXT)) == expected


JUNK = [
    "__MACOSX/._t.csv", "._t.csv", "a/._t.csv", ".DS_Store", ".ipynb_checkpoints/t.csv", "Thumbs.db", "desktop.ini",
    "_SUCCESS", ".t.csv.crc", "t.csv.crc", "_metadata", ".hidden/t.csv", "_committed_123",
]  # fmt: skip


@pytest.mark.parametrize("files", ['["t.csv"]', '["*.csv"]', "[]"])
def test_what_systems_leave_beside_a_table_is_not_seen(tmp_path, files_of, expected, files):
    members = dict.fromkeys(JUNK, b"\0\x05\x16\x07") | {"./b/t.csv": TEXT}
    for data in (zip_of(members), tar_of(members), gzip.compress(tar_of(dict(reversed(members.items()))))):
        assert files_of(data, files=files) == expected
    for name, data in members.items():
        path = tmp_path / ".top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    card = write_card(tmp_path, CARD.format(files=files))
    assert manifest_of(prepare(card, tmp_path / ".top", tmp_path / "out"))["files"] == expected


@pytest.mark.parametrize("name", ["bz2", "xz", "zst", "lz4"])
@pytest.mark.parametrize("inside", ["text", "parquet", "tar"])
def test_a_cut_or_damaged_file_is_named(files_of, name, inside):
    noise = np.random.default_rng(0).bytes(60_000).hex()
    text = f"y,c\n0,{noise}\n{ROWS}".encode()
    table = {"text": text, "parquet": parquet_of(text), "tar": tar_of({"t.csv": text})}[inside]
    data = PACK[name](table)
    damaged = [data[:2000] + b"\xff" * 300 + data[2300:]] if name in ("bz2", "xz") else []  # others have no checksums
    ends = [] if inside == "tar" else [data[:-3]]  # what follows the end of an archive is not read
    for broken in (data[: len(data) // 2], *ends, *damaged):
        with pytest.raises(DataError, match=r"^t(\.csv)?: the file is cut short or damaged"):
            files_of(broken)


def workbook():
    return zip_of({"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>"})


def written(write, folder):
    write(folder / "made")
    return (folder / "made").read_bytes()


def database(path):
    with sqlite3.connect(path) as base:
        base.execute("create table t (y, c)")
    base.close()


FRAME = pd.DataFrame({"y": [0, 1] * 50, "c": ["a", "b"] * 50})
FOREIGN = {
    "an Excel workbook": lambda _: workbook(),
    "an old Excel workbook": lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
    "a 7z archive": lambda _: b"7z\xbc\xaf\x27\x1c\0\x04" + b"\x99" * 99,
    "a rar archive": lambda _: b"Rar!\x1a\x07\x01\0" + b"\x99" * 99,
    "a snappy file": lambda _: b"\xff\x06\0\0sNaPpY" + b"\x99" * 99,
    "an ORC file": lambda folder: written(lambda path: orc.write_table(pa.Table.from_pandas(FRAME), path), folder),
    "an Avro file": lambda _: b"Obj\x01\x04\x14avro.codec\x08null" + b"\0" * 99,
    "an Arrow IPC": lambda folder: written(lambda path: feather.write_feather(FRAME, path), folder),
    "an HDF5 file": lambda _: b"\x89HDF\r\n\x1a\n" + b"\0" * 99,
    "an SQLite database": lambda folder: written(database, folder),
    "a NumPy array": lambda folder: written(lambda path: np.save(path.open("wb"), np.zeros(9)), folder),
    "a Python pickle": lambda _: pickle.dumps(FRAME),
    "a PDF document": lambda _: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "an image": lambda _: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "an lzma file": lambda _: lzma.compress(TEXT, format=lzma.FORMAT_ALONE),
    "an encrypted Parquet file": lambda _: b"PARE\x15\0" + b"\0" * 99 + b"PARE",
    "holds NUL bytes alone": lambda _: b"\0" * 5000,
    "is no text": lambda _: np.random.default_rng(1).bytes(5000),
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_other_formats_are_named_with_what_to_do(tmp_path, files_of, what):
    data = FOREIGN[what](tmp_path)
    packed = [data, gzip.compress(data)] if "Excel workbook" not in what or "old" in what else [data]
    for one in [*packed, zip_of({"t.csv": data})] if packed[1:] else packed:
        with pytest.raises(DataError, match=rf"^t(\.csv)?: .*{what}.*(pass|unpack|decrypt|save)") as caught:
            files_of(one)
        assert str(caught.value).isprintable()


def test_archives_inside_archives_are_named(files_of):
    inner = zip_of({"t.csv": TEXT})
    for data in (zip_of({"t.csv": inner}), gzip.compress(inner)):
        with pytest.raises(DataError, match=r"is a zip archive inside another file, .*; unpack it and pass the table"):
            files_of(data)


def test_locked_and_odd_zips_are_named(files_of):
    data = bytearray(zip_of({"t.csv": TEXT}))
    central = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[central + 8] |= 1
    with pytest.raises(DataError, match=r"^t\.csv: is encrypted; unpack it with its password and pass the file"):
        files_of(bytes(data))
    data = bytearray(zip_of({"t.csv": TEXT}))
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 9
    with pytest.raises(DataError, match=r"^t\.csv: cannot be unpacked .*; unpack it and pass the file"):
        files_of(bytes(data))


def test_names_in_messages_are_printable(files_of):
    with pytest.raises(DataError, match=r"holds no t.csv \(it holds 'a\\x1b\[31m.txt'\)") as caught:
        files_of(tar_of({"a\x1b[31m.txt": b"?"}))
    assert str(caught.value).isprintable()
    with pytest.raises(DataError, match=r"'a\\x1b.csv': the header lacks the column 'y'"):
        files_of(tar_of({"a\x1b.csv": b"x\n1\n"}), files='["*.csv"]')


@pytest.mark.parametrize("beside", ["b.csv", "b.csv.gz", "deep/a.csv"])
def test_two_tables_that_files_names_are_refused(tmp_path, files_of, beside):
    """``files`` lists names of one table: b and c do not disappear behind a."""
    members = {"a.csv": TEXT, "other.csv": TEXT, beside: TEXT}
    for data in (zip_of(members), tar_of(members), tar_of(dict(reversed(members.items())))):
        with pytest.raises(
            DataError,
            match=r"holds .* and .*, but one file is wanted, called 'a.csv' or .*, set join = true",
        ):
            files_of(data, files='["a.csv", "b.csv", "c.csv"]')
    for name, data in members.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    card = write_card(tmp_path, CARD.format(files='["a.csv", "b.csv", "c.csv"]'))
    with pytest.raises(DataError, match=r"^folder: holds a.csv and .*, but one file is wanted"):
        prepare(card, tmp_path / "folder", tmp_path / "out")
    store = prepare(card, tmp_path / "folder" / "a.csv", tmp_path / "out")
    assert [one["name"] for one in manifest_of(store)["raw"]] == ["a.csv"]


def test_files_lists_alternatives(files_of, expected):
    other = TEXT.replace(b"a", b"z")
    for members in ({"x.csv": other, "t.csv": TEXT}, {"t.csv": TEXT, "x.csv": other}, {"b.tsv": TEXT}):
        for data in (zip_of(members), tar_of(members)):
            assert files_of(data, files='["c.csv", "b.tsv", "t.csv", "*.csv"]') == expected
    assert files_of(zip_of({"train-1.csv": TEXT, "x.csv": other}), files='["train-*.csv", "*.csv"]') == expected
    assert files_of(zip_of({"p[1].csv": TEXT, "p1.csv": other}), files='["p[1].csv"]') == expected
    assert files_of(zip_of({"d/t.csv": TEXT, "e/t.csv": other}), files='["d/t.csv"]') == expected
    header, rows = TEXT.split(b"\n", 1)
    halves = [header + b"\n" + half for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :])]
    assert files_of(zip_of({"p-9.csv": halves[0], "p-10.csv": halves[1]}), files='["p-*"]') == expected
    assert files_of(TEXT, "any.name", files='["c.csv"]') == expected


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("damage", [b"x", b"", None])
def test_what_follows_a_stream_is_another_or_damage(tmp_path, pack, damage):
    """As pbzip2 and cat make them; the standard library takes whatever is no stream for the end."""
    first, second = pack(TEXT), pack(b"1,z\n" * 50)
    if damage is None:
        second = b"?" + second[1:]
    path = tmp_path / "t.csv.packed"
    path.write_bytes(first + second + (damage or b""))
    if damage == b"":
        with RawSource(path) as source:
            assert source.stream("t.csv.packed").read(-1) == TEXT + b"1,z\n" * 50
            assert source.stream("t.csv.packed").read(5) == TEXT[:5]  # from its beginning again
        return
    with (
        pytest.raises(DataError, match=r"t.csv.packed: the file is cut short or damaged"),
        RawSource(path) as source,
    ):
        source.stream("t.csv.packed").read(-1)


def test_padding_of_xz_is_no_damage(tmp_path):
    (tmp_path / "t.xz").write_bytes(lzma.compress(TEXT) + b"\0" * 8 + lzma.compress(TEXT) + b"\0" * 4)
    with RawSource(tmp_path / "t.xz") as source:
        assert source.stream("t.xz").read(-1) == TEXT * 2


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_named(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes(TEXT.decode().encode(encoding))
    with pytest.raises(DataError, match=f"t.csv: looks like UTF-16 text; set encoding = '{encoding}' in the card"):
        prepare(write_card(tmp_path, CARD.format(files=[])), tmp_path / "t.csv", tmp_path / "out")


def test_a_pipe_is_named(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)  # of both kinds, so that neither side waits for the other
    try:
        os.write(end, b"y,c\n")
        with pytest.raises(DataError, match=r"^pipe: is a pipe, which can be read only once; save it as a file"):
            RawSource(path)
    finally:
        os.close(end)


def test_a_tar_inside_a_zip_is_named(tmp_path):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        info = tarfile.TarInfo("t.csv")
        info.size = len(TEXT)
        tar.addfile(info, io.BytesIO(TEXT))
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.tar", sink.getvalue())
    with pytest.raises(DataError, match=r"t.tar: is a tar archive inside another file, which cannot be read; unpack"):
        prepare(write_card(tmp_path, CARD.format(files=["*"])), tmp_path / "t.zip", tmp_path / "out")
