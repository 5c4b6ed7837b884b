"""What a file is, by its first bytes: never by its name, and never by two letters that a text may begin with too."""

from __future__ import annotations

import re
import tarfile

from bench.errors import DataError

HEAD_BYTES = 4096
"""First bytes that are looked at."""
_TAR_BLOCK = 512
_CONTROL = bytes(range(9)) + bytes(range(14, 32)) + b"\x7f"
_MOSTLY = 0.05
"""Share of control characters from which on bytes that are no UTF-8 are no text of another encoding either."""

_BINARY_SOON = rb"(?=.{0,60}[\x00-\x08\x0e-\x1f])"
"""After letters that a text may begin with too."""
_UNPACK = "unpack it and pass the table's own file"
_EXPORT = "save the table as CSV or Parquet and pass that file"
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive inside another file", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (rb"\xff\x06\x00\x00sNaPpY", "a snappy file", _UNPACK),
    (rb"\x02\x21\x4c\x18", "an lz4 file of the old format", _UNPACK),
    (rb"\x1f[\x9d\xa0]", "a compress (.Z) file", _UNPACK),
    (rb"LZIP" + _BINARY_SOON, "an lzip file", _UNPACK),
    (rb"\x5d\x00\x00.{2}(\xff{8}|.{5}\x00{3})", "an lzma file", _UNPACK),
    (rb"PARE" + _BINARY_SOON, "an encrypted Parquet file", "decrypt it"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", _EXPORT),
    (rb"ORC" + _BINARY_SOON, "an ORC file", _EXPORT),
    (rb"Obj\x01", "an Avro file", _EXPORT),
    (rb"ARROW1\x00\x00|\xff\xff\xff\xff.{2}\x00\x00\x10\x00\x00\x00", "an Arrow IPC (Feather) file", _EXPORT),
    (rb"FEA1" + _BINARY_SOON, "a Feather file", _EXPORT),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    (rb"SQLite format 3\x00", "an SQLite database", _EXPORT),
    (rb".{8}DUCK.\x00", "a DuckDB database", _EXPORT),
    (rb"\x93NUMPY[\x01-\x03]", "a NumPy array", _EXPORT),
    (rb"\x80[\x02-\x05](\x95|[\x5d\x7d(c])", "a Python pickle", _EXPORT),
    (rb"%PDF-\d\.\d", "a PDF document", _EXPORT),
    (rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff[\xc0-\xff]|GIF8[79]a[\x00-\xff]{2}[\x80-\xff]", "an image", _EXPORT),
)
_KNOWN = tuple((re.compile(pattern, re.DOTALL), what, mend) for pattern, what, mend in _FOREIGN)
_ZIP = re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)")


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so is a zip archive."""
    return _ZIP.match(head) is not None


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive: its first header has the right checksum, or is a damaged one."""
    block = head[:_TAR_BLOCK]
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return block[257:263] in (b"ustar\x00", b"ustar ") and b"\x00" in block[:100]
    return True


def is_parquet(head: bytes) -> bool:
    """Whether a file that begins so is Parquet, whole or not: a text may begin with ``PAR1``, but goes on as text."""
    return head.startswith(b"PAR1") and _controls(head[4:64]) > 0


def refuse_binary(head: bytes, name: str, encoding: str, delimiter: str) -> None:
    """Check that a file that begins so can be a text table.

    Raises:
        DataError: it is of another, known or unknown, format; the message says what to do.
    """
    for pattern, what, mend in _KNOWN:
        if pattern.match(head):
            raise DataError(f"{name}: is {what}, which cannot be read; {mend}.")
    if is_tar(head):
        raise DataError(f"{name}: is a tar archive inside another file, which cannot be read; {_UNPACK}.")
    wide = encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32", "utf16", "utf32"))
    if wide or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    if order := _utf16(head):
        raise DataError(f"{name}: looks like UTF-16 text; set encoding = '{order}' in the card.")
    text = head.replace(delimiter.encode(), b"")
    empty = text.count(b"\x00") == len(text) > 0
    if empty or (_controls(text) > _MOSTLY * len(text) and not _is_utf8(head)):
        what = "holds NUL bytes alone" if empty else "is no text, and of no format that is known"
        raise DataError(f"{name}: {what}; check the download, or {_EXPORT}.")


def _utf16(head: bytes) -> str:
    """The encoding of text of which every other byte is NUL; nothing of other bytes."""
    pairs = len(head) // 2
    for order, place in (("utf-16-le", 1), ("utf-16-be", 0)):
        if pairs and head[place::2].count(0) > 0.9 * pairs and head[1 - place :: 2].count(0) == 0:
            return order
    return ""


def _controls(data: bytes) -> int:
    return len(data) - len(data.translate(None, _CONTROL))


def _is_utf8(head: bytes) -> bool:
    """Whether ``head`` is UTF-8, the last character perhaps cut."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and error.reason == "unexpected end of data"
    return True
