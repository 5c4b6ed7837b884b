"""Preparation once more in plain Python, row by row: what the fast one must equal. And small raw files."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.data.card.card import DatasetCard, load_card

MASK = 2**64 - 1
Row = dict[str, str | None]


def splitmix64(state: int) -> int:
    """The generator's output function, as published: add the golden gamma, then mix."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def plain_hash(seed: int, row: int) -> int:
    """Output number ``row`` of a generator whose state starts at output number 0 of another, seeded by seed·golden."""
    golden = 0x9E3779B97F4A7C15
    start = splitmix64((seed * golden + 1 - golden) & MASK)
    return splitmix64((start + row * golden) & MASK)


def plain_split(labels: list[int], seed: int, shares: list[str], rows: list[int] | None = None) -> list[int]:
    rows = list(range(len(labels))) if rows is None else rows
    split = [0] * len(labels)
    for label in (0, 1):
        members = sorted(
            (plain_hash(seed, row), row, i) for i, (row, y) in enumerate(zip(rows, labels, strict=True)) if y == label
        )
        cuts = []
        for share in (Fraction(shares[0]), Fraction(shares[0]) + Fraction(shares[1])):
            exact = share * len(members)
            below, rest = exact.numerator // exact.denominator, exact % 1
            up = rest >= Fraction(1, 2) if label else rest > Fraction(1, 2)
            cuts.append(below + up)
        for place, (_, _, i) in enumerate(members):
            split[i] = (place >= cuts[0]) + (place >= cuts[1])
    return split


def plain_ids(rows: list[Row], split: list[int], fields: list[str], min_count: int) -> tuple[np.ndarray, dict]:
    """Ids with offsets, and field -> kept values in the order of their ids; values are sorted by their text."""
    ids = np.zeros((len(rows), len(fields)), dtype=np.int64)
    kept_values, offset = {}, 0
    for f, name in enumerate(fields):
        counts = Counter(row[name] for row, s in zip(rows, split, strict=True) if s == 0 and row[name] is not None)
        kept = [value for value, count in counts.items() if count >= min_count]
        kept.sort(key=_order)
        places = {value: offset + 2 + i for i, value in enumerate(kept)}
        for i, row in enumerate(rows):
            ids[i, f] = offset + 1 if row[name] is None else places.get(row[name], offset)
        kept_values[name] = kept
        offset += 2 + len(kept)
    return ids, kept_values


def _order(value: str | tuple[int, int]) -> bytes | tuple[int, int]:
    return value.encode() if isinstance(value, str) else value


def plain_bucket(text: str, merged: bool) -> tuple[int, int] | None:
    """Sort key of an integer's id: literals before buckets, unless merged."""
    if text == "":
        return None
    x = int(text)
    if x <= 2:
        return (0, x)
    return (0 if merged else 1, math.floor(math.log(x) ** 2))


def criteo_lines(n: int, seed: int = 0) -> list[str]:
    """Lines of label, 13 integers and 26 hexadecimal strings, some of each missing."""
    rng = random.Random(seed)
    lines = []
    for _ in range(n):
        integers = ["" if rng.random() < 0.2 else str(int(rng.expovariate(0.05)) - 2) for _ in range(13)]
        texts = ["" if rng.random() < 0.1 else f"{int(rng.expovariate(0.1)):08x}" for _ in range(26)]
        lines.append("\t".join([str(int(rng.random() < 0.3)), *integers, *texts]))
    return lines


def write_card(folder: Path, text: str, **overrides: str) -> DatasetCard:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return load_card(path, overrides)


def manifest_of(store: Path) -> dict:
    return json.loads((store / "manifest.json").read_text(encoding="utf-8"))
