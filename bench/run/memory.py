"""How much memory a process of a run may take; and so, whether rows are in it or are read from the store in blocks.

What is decided here follows from the data, the settings and the size of the machine, not from what else runs on it: the
order of rows is part of a cell's identity, and must be the same when a run goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.store.store import StoreFacts
from bench.errors import ConfigError
from bench.rows.order import FEWEST, Blocks, blocks_of
from bench.rows.residency import table_bytes
from bench.run.settings import bytes_of

__all__ = ["ALL", "Residence", "residence"]

SHARE = 0.6
"""Of the machine's memory that rows and their copy may take where the settings name no bound."""
PROGRAM_BYTES = 512 << 20
"""The program with its libraries."""
BATCH_BYTES = 192 << 20
"""Batches on their way through a network, and what evaluation sorts."""
_LABEL_AND_NUMBER = 8
_ORDER = 4
_WINDOWS = 4
"""Two of training rows, and two of the rows that gates may learn on beside."""
_DRAWING = 30
"""Bytes a training row while a holdout is drawn."""
_COPIES = 4
"""Of the rows that a method asks for at once: it makes matrices of them."""
_MB = 10**6


@dataclass(frozen=True)
class Residence:
    """Where the rows of a data set are while a cell runs."""

    blocks: Blocks | None = None
    """In what order they are read from the store; None: they are in memory."""
    room: int | None = None
    """Bytes of rows in the store that may be asked for at once; None: any."""
    warning: str | None = None
    """What the user is told of it."""


ALL = Residence()
"""All rows in memory."""


def residence(facts: StoreFacts, dim: int, memory: str | None, total: int | None, on_cpu: bool) -> Residence:
    """Where the rows of a data set are.

    Args:
        facts: of the data set; where ``memory`` is given, also its vocabulary.
        dim: embedding size D.
        memory: what the process may take, as the user has written it; None: what rows may take follows from ``total``.
        total: bytes of the machine's main memory; None: unknown.
        on_cpu: whether the model lies in main memory, too.

    Raises:
        ConfigError: ``memory`` is too small even for rows in blocks.
    """
    rows = sum(facts.split_rows.values())
    inside = rows * (facts.row_bytes + _LABEL_AND_NUMBER) + facts.split_rows["train"] * facts.row_bytes
    if memory is None:
        if total is None or inside <= SHARE * total:
            return ALL
        limit, table = int(SHARE * total), 0
        why = f"more than {SHARE:.0%} of the {total / _MB / 1000:.1f} GB of memory here (--memory SIZE sets a bound)"
    else:
        limit, table = bytes_of(memory), table_bytes(facts.schema, dim) if on_cpu else 0
        if PROGRAM_BYTES + inside + table <= limit:
            return ALL
        why = f"and --memory {memory} leaves {max(0, limit - PROGRAM_BYTES - table) / _MB:,.0f} MB for them"
    blocks = blocks_of(facts.row_bytes)
    if memory is not None:
        _refuse(facts, blocks, table, memory)
    text = (
        f"{facts.label}: rows, and the copy of them that selections make, take {inside / _MB:,.0f} MB, {why}: they are "
        f"read from the store in blocks, and shuffled in windows of {blocks.window:,} rows"
    )
    left = limit - PROGRAM_BYTES - table - rows * _LABEL_AND_NUMBER
    return Residence(blocks, max(FEWEST * facts.row_bytes, left // _COPIES), text)


def _refuse(facts: StoreFacts, blocks: Blocks, table: int, memory: str) -> None:
    """Make sure that a training in blocks takes no more than ``memory``.

    Raises:
        ConfigError: it does; the message says what takes how much.
    """
    rows, train = sum(facts.split_rows.values()), facts.split_rows["train"]
    windows = _WINDOWS * min(blocks.window, train) * facts.row_bytes + BATCH_BYTES
    training, drawing = table + windows + train * _ORDER, train * _DRAWING
    needed = PROGRAM_BYTES + rows * _LABEL_AND_NUMBER + max(training, drawing)
    if needed <= bytes_of(memory):
        return
    parts = [
        f"{PROGRAM_BYTES / _MB:,.0f} MB the program",
        f"{(rows * _LABEL_AND_NUMBER + train * _ORDER) / _MB:,.0f} MB labels, numbers and order of {rows:,} rows",
    ]
    if training >= drawing:
        parts += [f"{windows / _MB:,.0f} MB {_WINDOWS} windows and a batch"]
        parts += [f"{table / _MB:,.0f} MB the table of {facts.schema.vocabulary_rows:,} values with Adam's copies"] * (
            table > 0
        )
    else:
        parts += [f"{(drawing - train * _ORDER) / _MB:,.0f} MB the drawing of holdouts"]
    raise ConfigError(
        f"memory={memory} is too small for {facts.label}: training needs {needed / _MB:,.0f} MB at least "
        f"({', '.join(parts)}). Give as much, or use fewer rows (--rows)."
    )
