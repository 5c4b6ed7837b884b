"""Raw files (or a generator) -> an encoded store.

One pass over the text gives labels and provisional codes; the labels (or the times) give the split; the train rows give
the vocabularies; a pass over the codes writes the ids. In memory are vocabularies, labels, splits, times where they
decide, one numeric column of the train rows, and a few blocks.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.card.card import DatasetCard
from bench.data.card.split_keys import SPLITS
from bench.data.prepare.crew import Crew
from bench.data.prepare.ingest import Ingested, ingest_generated, ingest_raw
from bench.data.prepare.junk import add_junk
from bench.data.prepare.spill import Spill
from bench.data.prepare.turning import turned
from bench.data.prepare.vocabulary_file import write_vocabulary
from bench.data.prepare.workers import HERE, Workers
from bench.data.prepare.workspace import Workspace
from bench.data.raw.chunks import CHUNK_BYTES
from bench.data.raw.fields import Extreme
from bench.data.raw.scratch import keep_freed_memory
from bench.data.raw.sources import RawSource
from bench.data.schema import Schema
from bench.data.store import manifest as files
from bench.data.store.group_split import UNKNOWN, with_rows_alone
from bench.data.store.scaling import CollapseError, Scaling, beyond_message, first_beyond, fit_scaling
from bench.data.store.splits import TRAIN, assign_splits, check_splits
from bench.data.store.temporal import temporal_splits
from bench.errors import DataError, storage_error
from bench.files import file_sha256

_TURNED_BYTES, _TURNED_COLUMNS = 1 << 25, 32
"""Most numeric columns, and bytes of more than one, that are held in memory at a time, of each thread."""


@dataclass(frozen=True)
class Progress:
    """How far a preparation is."""

    phase: str
    """read, count or write."""
    rows: int
    """Rows done in this phase."""
    share: float | None
    """Of this phase, 0 to 1; None where it cannot be known."""


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Settings:
    """How the work is cut; the store is the same for all of them."""

    chunk_bytes: int = CHUNK_BYTES
    """Text parsed at a time."""
    threads: int = 0
    """Parser threads; 0: one a core, at most 8."""
    device: str = "cpu"
    """Where the rows of a generated data set are made."""
    workers: Workers = HERE
    """Who reads a raw table."""

    def pool(self) -> ThreadPoolExecutor:
        """The threads."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return ThreadPoolExecutor(self.threads or min(cores, 8))

    def crew(self, spill: Spill, pool: Executor, mergers: Executor) -> Crew:
        """Those who read, count and encode; errors as of joining a Ray cluster."""
        if self.workers.on_ray:
            from bench.data.prepare.ray_tasks import RayTasks  # noqa: PLC0415 - an extra

            return RayTasks(spill, pool, mergers, self.workers)
        if self.workers.count == 1:
            return Crew(spill, pool, mergers)
        from bench.data.prepare.processes import Processes  # noqa: PLC0415

        return Processes(spill, pool, mergers, self.workers.count)


def prepare(
    card: DatasetCard,
    raw: Path | Sequence[Path] | None,
    out: Path,
    *,
    progress: Tell | None = None,
    settings: Settings | None = None,
) -> Path:
    """Make the store ``out``, replacing what is there; a run that ends early leaves ``out`` as it was.

    Args:
        card: the data set.
        raw: its raw data: a file, an archive or a folder, or the files that are its parts; None for generated data.
        out: the store's folder.
        progress: is told how far the work is.
        settings: chunk size, threads and workers.

    Raises:
        DataError: the raw data or the folder cannot be used.
    """
    settings = settings or Settings()
    if card.junk:
        if raw is not None:
            raise DataError(f"data set {card.spec!r} is made from the store without junk: leave out --raw {raw}.")
        return add_junk(card, out)
    if raw is None and not card.generator:
        raise DataError(f"data set {card.name!r}: pass its raw data with --raw PATH.")
    if raw is not None and card.generator:
        raise DataError(f"data set {card.name!r} is generated: leave out --raw {raw}.")
    settings.workers.check(card)
    keep_freed_memory()
    with Workspace(out) as work:
        try:
            # The threads end first: none may touch the spill file once it is closed.
            with (
                Spill(work.folder) as spill,
                settings.pool() as pool,
                settings.pool() as mergers,
                settings.crew(spill, pool, mergers) as crew,
            ):
                tools = _Tools(crew, progress or (lambda _: None), settings.chunk_bytes, settings.device)
                manifest = _Preparer(card, work.folder, tools).build(raw)
            files.write_manifest(work.folder, manifest)
            return work.publish()
        except OSError as error:
            raise storage_error(error, None if error.filename else out.parent, "--data-dir") from error


@dataclass(frozen=True)
class _Tools:
    """What every step of one preparation works with."""

    crew: Crew
    tell: Tell
    chunk_bytes: int
    device: str

    @property
    def pool(self) -> Executor:
        """The threads of this process."""
        return self.crew.pool

    def ticker(self, phase: str, n_rows: int) -> Callable[[int], None]:
        """Tells that so many of ``n_rows`` rows are through ``phase``."""
        return lambda rows: self.tell(Progress(phase, rows, rows / n_rows))


class _Preparer:
    """One preparation, in the folder where the store grows."""

    def __init__(self, card: DatasetCard, folder: Path, tools: _Tools) -> None:
        """Prepare ``card`` in ``folder``."""
        self._card, self._folder, self._tools = card, folder, tools

    def build(self, raw: Path | Sequence[Path] | None) -> dict[str, Any]:
        """Write all files but the manifest, and return it."""
        card, tools = self._card, self._tools
        data, prints = self._ingest(raw)
        splits = self._split(data)
        shares = card.shares if card.in_whole_classes else None
        check_splits(data.labels, splits, f"data set {card.name!r}", shares, card.group)
        tick = tools.ticker("count", len(splits))
        schema = data.encoder.fit(splits == TRAIN, card.min_count, tools.crew, tick)
        sums = self._write_arrays(data, schema, splits)
        return self._describe(data, schema, splits) | {"raw": prints.result(), "files": sums}

    def _split(self, data: Ingested) -> np.ndarray:
        card = self._card
        if card.temporal and card.order:
            return temporal_splits(len(data.labels), card.shares, data.times, card.order.cut)
        if data.group_splits is not None:
            return with_rows_alone(data.group_splits, card.split_seed, card.shares)
        n_rows = len(data.labels)
        own_test = np.arange(n_rows) >= n_rows - data.test_rows if card.test_files else None
        return assign_splits(data.labels, card.split_seed, card.shares, data.rows, own_test)

    def _ingest(self, raw: Path | Sequence[Path] | None) -> tuple[Ingested, Future[list[dict[str, object]]]]:
        """All rows, and the checksums of the raw files on their way."""
        tools = self._tools
        if raw is None:

            def made(rows: int, total: int | None) -> None:
                tools.tell(Progress("read", rows, rows / total if total else None))

            data = ingest_generated(self._card, tools.crew, made, tools.device)
            return data, tools.pool.submit(list)
        with RawSource(raw, self._card.max_expansion, self._card.column_names) as source:

            def tick(rows: int) -> None:
                done = source.progress_bytes()
                tools.tell(Progress("read", rows, None if done is None else done[0] / done[1]))

            data = ingest_raw(self._card, source, tools.crew, tools.chunk_bytes, tick)
            return data, tools.pool.submit(source.fingerprints)

    def _write_arrays(self, data: Ingested, schema: Schema, splits: np.ndarray) -> dict[str, str]:
        """Write all data files; file name -> sha256."""
        folder = self._folder
        sums = {
            files.LABELS: files.write_array(folder / files.LABELS, data.labels),
            files.SPLIT: files.write_array(folder / files.SPLIT, splits),
        }
        if data.truth is not None:
            sums[files.TRUTH] = files.write_array(folder / files.TRUTH, data.truth)
        if data.rows is not None:
            sums[files.ROWS] = files.write_array(folder / files.ROWS, data.rows)
        merged = self._card.merged_buckets
        words = self._tools.pool.submit(write_vocabulary, folder / files.VOCABULARY, data.encoder, merged)
        try:
            sums |= self._write_ids(data, schema)
        finally:
            wait([words])
        words.result()
        sums[files.VOCABULARY] = file_sha256(folder / files.VOCABULARY)
        return sums

    def _write_ids(self, data: Ingested, schema: Schema) -> dict[str, str]:
        n_rows, n_numeric = len(data.labels), len(schema.numeric_fields)
        tick = self._tools.ticker("write", n_rows)
        done = 0
        with (
            files.ArrayFile(self._folder / files.IDS, np.int32, (n_rows, schema.n_fields)) as ids,
            files.ArrayFile(self._folder / files.NUMERIC, np.float64, (n_rows, n_numeric)) as numeric,
            files.ArrayFile(self._folder / files.POOLED, np.int32, (n_rows, len(schema.padding))) as pooled,
        ):
            for rows in data.encoder.write(schema.offsets, self._tools.crew, (ids, numeric, pooled)):
                done += rows
                tick(done)
        sums = {files.IDS: ids.sha256, files.NUMERIC: numeric.sha256, files.POOLED: pooled.sha256}
        for name, has in ((files.NUMERIC, n_numeric), (files.POOLED, len(schema.padding))):
            if not has:
                (self._folder / name).unlink()
                del sums[name]
        return sums

    def _describe(self, data: Ingested, schema: Schema, splits: np.ndarray) -> dict[str, Any]:
        card = self._card
        return {
            "format": files.FORMAT,
            "name": card.name,
            "title": card.title,
            "revision": card.revision,
            "definition": card.definition,
            "params": card.params,
            "fields": files.described(schema),
            "n_rows": len(splits),
            "positives": int(np.count_nonzero(data.labels)),
            "split_rows": {name: int(np.count_nonzero(splits == i)) for i, name in enumerate(SPLITS)},
            "shares": list(card.shares),
            "split_seed": card.split_seed,
            "min_count": card.min_count,
            **self._scalings(data, schema, splits),
            "roles": data.roles,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _scalings(self, data: Ingested, schema: Schema, splits: np.ndarray) -> dict[str, Any]:
        """The manifest's ``scaling``, of each numeric field by name, and its ``notes``.

        Raises:
            DataError: a field that cannot be standardised, or a number too far from the others.
        """
        found: dict[str, Any] = {"scaling": {}, "notes": [*data.notes, *_of_groups(self._card, data, splits)]}
        if not schema.numeric_fields:
            return found
        numbers = files.read_array(self._folder / files.NUMERIC, in_memory=False)
        names, in_train = schema.names, splits == TRAIN

        def fitted(places: range) -> list[tuple[Scaling, str | None]]:
            columns = zip(places, turned(numbers, places), strict=True)
            return [self._fitted(data, place, in_train, column) for place, column in columns]

        scalings = itertools.chain.from_iterable(self._tools.pool.map(fitted, _groups(*numbers.shape)))
        for place, (field, (scaling, note)) in enumerate(zip(schema.numeric_fields, scalings, strict=True)):
            _check_range(data.extremes[place], scaling)
            found["scaling"][names[field]] = vars(scaling)
            found["notes"] += [] if note is None else [f"{self._farthest(data, place)}{note}."]
        return found

    def _fitted(
        self, data: Ingested, place: int, in_train: np.ndarray, numbers: np.ndarray
    ) -> tuple[Scaling, str | None]:
        try:
            return fit_scaling(numbers, in_train)
        except CollapseError as error:
            raise DataError(f"{self._farthest(data, place)}{error}.") from None

    @staticmethod
    def _farthest(data: Ingested, place: int) -> str:
        """Where the number farthest from zero of a numeric column stands, for messages."""
        one = max(data.extremes[place], key=lambda one: abs(one.value), default=None)
        return "" if one is None else f"{one.place} holds {one.value!r}, and "


def _groups(n_rows: int, n_columns: int) -> list[range]:
    """Columns that are read at a time: a row has several of them in what a processor reads as one."""
    size = min(max(_TURNED_BYTES // (8 * n_rows), 1), _TURNED_COLUMNS)
    return [range(first, min(first + size, n_columns)) for first in range(0, n_columns, size)]


def _of_groups(card: DatasetCard, data: Ingested, splits: np.ndarray) -> list[str]:
    """How far the shares are met where groups decide."""
    if data.group_splits is None:
        return []
    got = ", ".join(f"{name} {np.mean(splits == i):.1%}" for i, name in enumerate(SPLITS))
    alone = int(np.count_nonzero(data.group_splits == UNKNOWN))
    more = f"; {alone:,} rows without one are drawn one by one" if alone else ""
    return [f"all rows of one {card.group} are in one split: {got} of the rows{more}."]


def _check_range(extremes: Sequence[Extreme], scaling: Scaling) -> None:
    """Refuse a number that training cannot work with; one is among the extremes of its block."""
    row = first_beyond(np.array([one.value for one in extremes]), scaling)
    if row is not None:
        raise DataError(f"{extremes[row].place}: {beyond_message(extremes[row].value, scaling)}.")
