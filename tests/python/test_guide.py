"""The blocks of the guide run, in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "bench" / "PYTHON.md"
LONG = ("bench.advise(", "tolerance=")
"""What trains many models."""


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def run(shown: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for text in shown:
        exec(compile(text, str(GUIDE), "exec"), names)
    assert list(folder.iterdir()) == [], "nothing is left where nobody asked for it"


def test_the_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = [text for text in blocks() if not any(word in text for word in LONG)]
    assert len(short) == len(blocks()) - 2 == 6
    run(short, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_blocks_that_take_a_minute_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(blocks(), tmp_path, monkeypatch)
