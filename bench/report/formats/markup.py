"""What the parts of a page write alike: texts, addresses of cells, and hints."""

from __future__ import annotations

from html import escape

from bench.report.formats.letters import visible
from bench.tables.cells import Record

__all__ = ["ID_CHARS", "anchor", "hint", "quoted", "text", "title"]

ID_CHARS = 16
"""Letters of a cell's hash that name it, as its file does."""
_WINDOWS_PX = (350, 740, 1180)
"""What fits into the windows for which the style sheet has hints."""


def text(words: str) -> str:
    """Any text as the page shows it, letter by letter."""
    return escape(visible(words), quote=False)


def quoted(words: str) -> str:
    """Any text as the value of an attribute."""
    return escape(visible(words))


def anchor(config_hash: str) -> str:
    """The address of a cell within the page."""
    return f"cell-{config_hash[:ID_CHARS]}"


def title(cell: Record) -> str:
    """A cell by its axes."""
    tau = "" if cell["tau"] is None else f", τ {cell['tau']:g}"
    return f"{cell['dataset']}, {cell['backbone']}, {cell['label']}{tau}, seed {cell['seed']}"


def hint(width_px: float, more: str) -> str:
    """A line that the style sheet shows in windows which are too narrow for the width."""
    narrow = sum(width_px > window for window in _WINDOWS_PX)
    return f'<p class="hint w{narrow}">More {more}: scroll sideways →</p>\n' if narrow else ""
