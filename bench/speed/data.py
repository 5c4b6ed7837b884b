"""Generated encoded rows in the shape of click data: some fields of few values, most of many, all Zipf-distributed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.data.schema import Field, Schema
from bench.datasets import criteo_like
from bench.rows.rows import Rows
from bench.speed.settings import SpeedConfig

ZIPF_EXPONENT = 1.1
SCRAMBLE = 2_654_435_761
"""A prime above every cardinality: multiplying by it permutes the codes of a field."""
POSITIVE_SHARE = 0.26
"""Share of clicks, about that of the Criteo data."""
LABEL = "label"
MIN_COUNT = 10
"""Rows in which a raw value must occur to get an id of its own, as is usual for the Criteo data."""
CARD = """name = "speed"
min_count = {min_count}

[raw]
files = ["{file}"]
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


@dataclass(frozen=True)
class RawTable:
    """A raw table that lies ready: TAB between columns, their names in the first line, nothing where none is known."""

    card: Path
    text: Path
    kinds: dict[str, str]
    """Field -> integer or categorical, in the order of the columns; the label comes before them."""


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


def write_raw(config: SpeedConfig, folder: Path) -> RawTable:
    """Write generated raw text of Criteo's shape, ``config.rows`` rows, and its card."""
    from bench.data.prepare.parallel import map_ordered  # noqa: PLC0415
    from bench.data.prepare.prepare import Settings  # noqa: PLC0415 - loads pyarrow
    from bench.data.prepare.raw_text import block_text  # noqa: PLC0415

    data = criteo_like.generate({"rows": config.rows, "seed": config.seed})
    kinds = {name: "integer" if data.content(name) == "integer" else "categorical" for name in data.fields}
    raw = RawTable(folder / "speed.toml", folder / "raw.csv", kinds)
    lines = "\n".join(f'{name} = "{kind}"' for name, kind in kinds.items())
    raw.card.write_text(CARD.format(file=raw.text.name, min_count=MIN_COUNT, columns=lines), encoding="utf-8")
    with Settings(threads=config.threads or 0).pool() as pool, raw.text.open("wb") as file:
        file.write(("\t".join((LABEL, *data.fields)) + "\n").encode())
        for text in map_ordered(lambda block: block_text(block, data), data.blocks, pool):
            file.write(text)
    return raw
