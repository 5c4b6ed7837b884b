"""``python -m bench score``: the rows of a raw table, scored with an exported model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    import numpy as np

PROG = "python -m bench score"


@dataclass(frozen=True)
class ScoreConfig:
    """Score raw rows with a model that `export` wrote, e.g. `score model/ rows.csv > scores.csv`.

    The rows are read as the training table was: text or Parquet, plain, compressed or in an archive. The label, and
    columns that the model does not take, may be there or not.
    """

    model: tyro.conf.Positional[Path]
    """Folder of the exported model."""
    rows: tyro.conf.Positional[Path]
    """The raw table."""
    out: Path | None = None
    """File for the scores, CSV: row (from 1) and probability; by default they are printed."""


def command(argv: Sequence[str]) -> int:
    """Score the table and write a line a row.

    Raises:
        ConfigError: onnxruntime is not installed.
        DataError: no model, a table that cannot be read or lacks a column, or a file that cannot be written.
    """
    config = tyro.cli(ScoreConfig, args=list(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    from bench.errors import ConfigError  # noqa: PLC0415 - pyarrow and onnxruntime take a second
    from bench.files import write_atomically  # noqa: PLC0415

    try:
        from bench.export.score import open_model, score  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"score: this needs the package {error.name!r}; install it with: pip install 'ctr-field-bench[export]'"
        ) from None
    blocks = score(open_model(config.model), config.rows)
    if config.out is None:
        _write(blocks, sys.stdout)
        return 0
    with write_atomically(config.out) as file:
        rows = _write(blocks, file)
    sys.stdout.write(f"{config.out}: {rows:,} rows\n")
    return 0


def _write(blocks: Iterator[np.ndarray], file: IO[str]) -> int:
    """Write all rows, and return their number; the header comes with the first, so that an error leaves nothing."""
    row = 0
    for block in blocks:
        if not row:
            file.write("row,probability\n")
        file.write("".join(f"{number},{p:.9g}\n" for number, p in enumerate(block.tolist(), row + 1)))
        row += len(block)
    return row
