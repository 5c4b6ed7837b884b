from __future__ import annotations

from pathlib import Path

import pytest

from bench.files import write_atomically


def test_the_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "x.json"
    with write_atomically(target) as file:
        file.write("τ = ½")
        file.flush()
        assert not target.exists()
    assert target.read_bytes() == "τ = ½".encode()
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(target.parent.iterdir()) == [target]


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "x", "wb") as file:
        file.write(b"\x00\xff")
    assert (tmp_path / "x").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_body_that_raises_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "x"
    target.write_text("old")

    def write() -> None:
        with write_atomically(target) as file:
            file.write("new")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
