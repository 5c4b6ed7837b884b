"""Files of a training's state: what is written comes back, and a file that could run code is refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from fit_rig import fit, make_model, make_rows, profile_step

from bench.engine import checkpoint
from bench.errors import DataError

CPU = torch.device("cpu")


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def pickled(file: Path, value: Any) -> None:
    file.write_bytes(pickle.dumps(value))


WAYS = pytest.mark.parametrize("write", [pickled, lambda file, value: torch.save(value, file)], ids=["bare", "torch"])


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0), "b": [(1, 2.5, None)], "c": {"d": "text"}}
    checkpoint.write(tmp_path / "new" / "fit.pt", state)
    back = checkpoint.read(tmp_path / "new" / "fit.pt", CPU, "abc")
    assert torch.equal(back.pop("a"), state.pop("a"))
    assert back == state


@WAYS
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, write: Callable[[Path, Any], None]) -> None:
    file, made = tmp_path / "fit.pt", tmp_path / "made"
    write(file, {"a": Planted(made)})
    with pytest.raises(DataError, match=r"fit\.pt: is no checkpoint .*delete it, and what it kept is made anew"):
        checkpoint.read(file, CPU, "a")
    assert not made.exists()
    with file.open("rb") as planted:  # it was no empty threat: whoever unpickles the file runs it
        torch.load(planted, weights_only=False) if write is not pickled else pickle.load(planted)
    assert made.exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off", pickle.dumps([1])], ids=repr)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fit.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"fit\.pt: .*is damaged"):
        checkpoint.read(tmp_path / "fit.pt", CPU, "a")


@pytest.mark.parametrize("part", [b"", b"text", b"\x80\x02\x85.", b"\x80\x02K\x01\x85R.", b"\x80\x02h\x07."], ids=repr)
def test_damaged_parts_of_a_file_are_refused(tmp_path: Path, part: bytes) -> None:
    checkpoint.write(tmp_path / "whole.pt", {"a": torch.ones(2)})
    with ZipFile(tmp_path / "whole.pt") as whole, ZipFile(tmp_path / "fit.pt", "w") as damaged:
        for name in whole.namelist():
            damaged.writestr(name, part if name.endswith("data.pkl") else whole.read(name))
    with pytest.raises(DataError, match=r"fit\.pt: .*is damaged"):
        checkpoint.read(tmp_path / "fit.pt", CPU, "a")


@pytest.mark.parametrize("state", [{}, {"a": 1, "z": 2}, [1], torch.ones(2)], ids=["empty", "more", "list", "tensor"])
def test_harmless_files_of_something_else_are_refused(tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / "fit.pt")
    with pytest.raises(DataError, match="it holds other parts"):
        checkpoint.read(tmp_path / "fit.pt", CPU, "a")


@WAYS
def test_a_training_refuses_a_planted_checkpoint(tmp_path: Path, write: Callable[[Path, Any], None]) -> None:
    rows, file, made = make_rows(22), tmp_path / "fit.pt", tmp_path / "made"
    model = make_model(rows.schema)
    before = model.table.weight.detach().clone()
    write(file, {"model": Planted(made)})
    with pytest.raises(DataError, match="delete it, and what it kept is made anew"):
        fit(model, rows, [profile_step(model)], checkpoint=file)
    assert not made.exists()
    assert torch.equal(model.table.weight, before)
    file.unlink()
    assert not fit(model, rows, [profile_step(model)], checkpoint=file).resumed
