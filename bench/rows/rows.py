"""Encoded rows as tensors on a device or paged in from main memory, and batches of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.data.schema import FIRST_VALUE, MISSING, RARE, Schema
from bench.rows.order import Blocks
from bench.rows.prefetch import Part, stream


@dataclass(frozen=True)
class Batch:
    """A slice of rows, as a model takes it."""

    ids: Tensor
    """Rows of the fused table, int32 [B, F]."""
    numeric: Tensor | None
    """Values of the numeric fields, float32 [B, number of numeric fields]."""
    labels: Tensor
    """0 or 1, float32 [B]."""
    pooled: Tensor | None = None
    """Further values of pooled fields, int32 [B, P]; see ``Schema.column_fields``."""

    def __len__(self) -> int:
        return self.labels.shape[0]


@dataclass(frozen=True)
class Rows:
    """Rows of one split: resident where their batches are used, or paged.

    ``schema`` says which fields the columns are; a model refuses rows of another schema. Paged rows lie in main
    memory and send their batches to a device that has no room for all of them.
    """

    schema: Schema
    ids: Tensor
    """Rows of the fused table, int32 [N, F]."""
    numeric: Tensor | None
    """Values of the numeric fields, float32 [N, number of numeric fields]."""
    labels: Tensor
    """0 or 1, float32 [N]."""
    index: Tensor
    """Row numbers in the raw data, int64 [N] on the CPU: the identity of a row."""
    goes_to: torch.device | None = None
    """Device that the batches of paged rows are sent to; None: resident."""
    pooled: Tensor | None = None
    """Further values of pooled fields, int32 [N, P]: ``ids`` has the first value of each."""
    blocks: Blocks | None = None
    """In what order trainings take rows of data that do not fit in memory; None: all are shuffled with each other."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.ids.device if self.goes_to is None else self.goes_to

    @property
    def lies(self) -> str:
        """Where the rows of batches are taken from, if that is not where the batches are; else empty."""
        return "" if self.goes_to is None else "paged in from main memory"

    @property
    def on_disk(self) -> bool:
        """Whether the rows stay in the store: asking for their tensors reads them."""
        return False

    @property
    def n_bytes(self) -> int:
        """Size of ids, numbers, labels and further values."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors())

    def _tensors(self) -> list[Tensor]:
        return [self.ids, self.labels, *(one for one in (self.numeric, self.pooled) if one is not None)]

    @property
    def positive_rate(self) -> float:
        """Share of rows with label 1."""
        return float(self.labels.mean(dtype=torch.float64))

    def to(self, device: torch.device) -> Rows:
        """The same rows, resident on ``device``."""
        numeric = None if self.numeric is None else self.numeric.to(device)
        pooled = None if self.pooled is None else self.pooled.to(device)
        ids, labels = self.ids.to(device), self.labels.to(device)
        return Rows(self.schema, ids, numeric, labels, self.index, pooled=pooled, blocks=self.blocks)

    def sent_to(self, device: torch.device) -> Rows:
        """The same rows where they are, their batches sent to ``device``."""
        return replace(self, goes_to=device)

    def resident(self) -> Rows:
        """The same rows with their tensors in memory."""
        return self

    def some(self, n_bytes: int) -> Rows:
        """As many of the first rows as take ``n_bytes``, in memory; of rows that lie there, all."""
        return self

    def take(self, positions: Tensor) -> Rows:
        """The rows at ``positions`` (int64 [n], CPU), in that order."""
        here = positions.to(self.ids.device)
        numeric = None if self.numeric is None else self.numeric[here]
        pooled = None if self.pooled is None else self.pooled[here]
        index = self.index[positions]
        return replace(self, ids=self.ids[here], numeric=numeric, labels=self.labels[here], index=index, pooled=pooled)

    def without(self, index: Tensor) -> Rows:
        """The rows whose identity is not in ``index`` (int64 [n])."""
        keep = ~torch.isin(self.index, index)
        return self.take(keep.nonzero().squeeze(1))

    def keep(self, kept: Sequence[int]) -> Rows:
        """The columns ``kept`` (increasing field indices), ids moved to the offsets of the smaller table."""
        schema = self.schema.keep(kept)
        shift = schema.offsets[:-1] - self.schema.offsets[list(kept)]
        ids = self.ids[:, list(kept)] + torch.as_tensor(shift.astype(np.int32), device=self.ids.device)
        columns = [self.schema.numeric_fields.index(f) for f in kept if f in self.schema.numeric_fields]
        numeric = self.numeric[:, columns] if self.numeric is not None and columns else None
        return replace(self, schema=schema, ids=ids, numeric=numeric, pooled=self._moved(kept, schema))

    def _moved(self, kept: Sequence[int], schema: Schema) -> Tensor | None:
        """Further values of the fields ``kept``, which have the offsets of ``schema``; int32 [N, P]."""
        if self.pooled is None or not schema.pooled_fields:
            return None
        owners = self.schema.column_fields[self.schema.n_fields :]
        columns = np.flatnonzero(np.isin(owners, list(kept)))
        shift = torch.as_tensor(schema.padding - self.schema.padding[columns], device=self.pooled.device)
        return self.pooled[:, columns.tolist()] + shift

    def merge_rare(self, min_count: int) -> Rows:
        """The same rows with every value that occurs fewer than ``min_count`` times turned into the rare id."""
        flat = self.ids.reshape(-1).long()
        counts = torch.bincount(flat, minlength=self.schema.vocabulary_rows)
        rare = torch.as_tensor(self.schema.offsets[:-1] + RARE, dtype=torch.int32, device=self.ids.device)
        if self.pooled is None:
            ids = torch.where((counts[flat] >= min_count).view_as(self.ids), self.ids, rare)
            return replace(self, ids=ids)
        padding = torch.from_numpy(self.schema.padding).to(self.pooled.device)
        there = self.pooled != padding
        counts += torch.bincount(self.pooled[there], minlength=len(counts))
        ids, pooled = self.ids.long(), self.pooled.long()
        stays = (counts[pooled] >= min_count) | ~there
        return replace(
            self,
            ids=torch.where(counts[ids] >= min_count, self.ids, rare),
            pooled=torch.where(stays, self.pooled, padding - MISSING + RARE),
        )

    def bucketed(self, buckets: int) -> Rows:
        """The same rows with every numeric field as a categorical one, for what reads ids alone.

        Its values are ``buckets`` ranges of equal numbers of these rows, fewer where numbers repeat; a missing number
        keeps the id of missing values. Rows in main memory only.
        """
        if self.numeric is None:
            return self
        schema = self.schema.bucketed(buckets)
        local = self.ids.cpu().numpy() - self.schema.offsets[:-1].astype(np.int32)
        for column, f in enumerate(self.schema.numeric_fields):
            numbers, known = self.numeric[:, column].cpu().numpy(), local[:, f] != MISSING
            inner = np.linspace(0, 1, buckets + 1)[1:-1]
            edges = np.unique(np.quantile(numbers[known], inner)) if known.any() else np.empty(0)
            local[known, f] = FIRST_VALUE + np.searchsorted(edges, numbers[known], side="right")
        ids = torch.from_numpy((local + schema.offsets[:-1]).astype(np.int32)).to(self.ids.device)
        pooled = self._moved(range(schema.n_fields), schema)
        return replace(self, schema=schema, ids=ids, numeric=None, pooled=pooled)

    def batch(self, positions: Tensor) -> Batch:
        """The rows at ``positions`` (int [B], on the device of batches)."""
        if self.lies:
            return next(self.batches([positions.cpu()]))
        numeric = None if self.numeric is None else self.numeric.index_select(0, positions)
        pooled = None if self.pooled is None else self.pooled.index_select(0, positions)
        return Batch(self.ids.index_select(0, positions), numeric, self.labels.index_select(0, positions), pooled)

    def slices(self, size: int) -> Iterator[Batch]:
        """All rows in order, ``size`` at a time; of resident rows without a copy."""
        parts = [slice(start, min(start + size, len(self))) for start in range(0, len(self), size)]
        if self.lies:
            yield from self.batches(parts)
            return
        for part in parts:
            numeric = None if self.numeric is None else self.numeric[part]
            pooled = None if self.pooled is None else self.pooled[part]
            yield Batch(self.ids[part], numeric, self.labels[part], pooled)

    def batches(self, parts: Iterable[Part]) -> Iterator[Batch]:
        """The rows of ``parts``, each copied to the device of batches while the one before is worked on."""
        for ids, labels, *rest in stream(self._tensors(), parts, self.device):
            numeric = None if self.numeric is None else rest.pop(0)
            yield Batch(ids, numeric, labels, None if self.pooled is None else rest.pop(0))


def batch_sizes(n_rows: int, size: int) -> set[int]:
    """Rows of the batches that ``n_rows`` rows are cut into, ``size`` at a time."""
    return {min(n_rows, size), n_rows % size} - {0}


def stratified_sample(labels: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Positions of ``n`` rows that keep the share of positives, int64 [n], increasing.

    Args:
        labels: 0 or 1, [N].
        n: rows to draw, at most N; round(n · share of positives) of them are positive.
        generator: draws the rows within each class.
    """
    labels = labels.cpu()
    positive = (labels > 0.5).nonzero().squeeze(1)
    negative = (labels <= 0.5).nonzero().squeeze(1)
    n_positive = min(len(positive), max(n - len(negative), round(n * len(positive) / len(labels))))
    chosen = [
        group[torch.randperm(len(group), generator=generator)[:count]]
        for group, count in ((positive, n_positive), (negative, n - n_positive))
    ]
    return torch.cat(chosen).sort().values
