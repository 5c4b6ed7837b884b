"""Generated encoded rows in the shape of click data: some fields of few values, most of many, all Zipf-distributed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench.data.rows import Rows
from bench.data.schema import Field, Schema
from bench.speed.settings import SpeedConfig

ZIPF_EXPONENT = 1.1
SCRAMBLE = 2_654_435_761
"""A prime above every cardinality: multiplying by it permutes the codes of a field."""
POSITIVE_SHARE = 0.26
"""Share of clicks, about that of the Criteo data."""
CARD = """name = "speed"

[raw]
files = ["raw.tsv"]
delimiter = "\\t"
header = true
missing = [""]

[raw.columns]
label = "label"
{columns}

[split]
train = 0.72
valid = 0.18
test = 0.10
"""


def make_schema(config: SpeedConfig) -> Schema:
    """Fields whose cardinalities grow geometrically and sum up to the vocabulary."""
    steps = np.linspace(0.0, 1.0, config.fields)
    largest = config.vocabulary
    shares = np.maximum(largest, 64.0) ** (0.15 + 0.75 * steps)
    sizes = 3 + np.floor(shares / shares.sum() * (config.vocabulary - 3 * config.fields)).astype(np.int64)
    sizes[-1] += config.vocabulary - sizes.sum()
    return Schema(tuple(Field(f"f{i}", "categorical", int(size)) for i, size in enumerate(sizes)))


def make_rows(config: SpeedConfig, n: int | None = None) -> Rows:
    """Rows of ``make_schema``; ``n`` in place of the settings' number."""
    n = config.rows if n is None else n
    draw = np.random.default_rng(config.seed)
    schema = make_schema(config)
    ids = np.empty((n, config.fields), dtype=np.int32)
    for f, (size, offset) in enumerate(zip(schema.cardinalities, schema.offsets[:-1], strict=True)):
        ids[:, f] = _zipf(draw, int(size), n) + offset
    labels = (draw.random(n) < POSITIVE_SHARE).astype(np.float32)
    return Rows(schema, torch.from_numpy(ids), None, torch.from_numpy(labels), torch.arange(n))


def _zipf(draw: np.random.Generator, size: int, n: int) -> np.ndarray:
    """Codes below ``size``, int32 [n]: the continuous law of Zipf's exponent, inverted; codes carry no order."""
    power = 1.0 - ZIPF_EXPONENT
    u = draw.random(n, dtype=np.float32).astype(np.float64)
    rank = np.floor((1.0 + u * ((size + 1.0) ** power - 1.0)) ** (1.0 / power)).astype(np.int64) - 1
    rank = np.clip(rank, 0, size - 1)
    codes: np.ndarray = (rank * SCRAMBLE % size).astype(np.int32)
    return codes


def write_raw(config: SpeedConfig, folder: Path) -> tuple[Path, Path]:
    """Write a raw table, a third integers with gaps and the rest hexadecimal codes, and its card: (card, table)."""
    draw = np.random.default_rng(config.seed)
    schema = make_schema(config)
    n, names = config.rows, schema.names
    integers = config.fields // 3
    columns: list[np.ndarray] = [(draw.random(n) < POSITIVE_SHARE).astype(np.int8).astype(str)]
    for f, size in enumerate(schema.cardinalities):
        codes = _zipf(draw, int(size), n)
        if f < integers:
            text = np.exp(draw.exponential(2.0, n)).astype(np.int64).astype(str)
        else:
            words = np.array([f"{(code * SCRAMBLE + f) % 2**32:08x}" for code in range(int(size))])
            text = words[codes]
        columns.append(np.where(draw.random(n) < 0.1, "", text))
    table = folder / "raw.tsv"
    with table.open("w", encoding="utf-8") as file:
        file.write("\t".join(("label", *names)) + "\n")
        for row in zip(*columns, strict=True):
            file.write("\t".join(row) + "\n")
    kinds = [f'{name} = "{"integer" if f < integers else "categorical"}"' for f, name in enumerate(names)]
    card = folder / "speed.toml"
    card.write_text(CARD.format(columns="\n".join(kinds)), encoding="utf-8")
    return card, table
