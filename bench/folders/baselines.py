"""Recorded cells of other runs in this one's tables: taken after a check of each, so that they need not be computed.

A cell is taken where its identity is the one that this run would give it: protocol, revision of the data (with the
checksum of files and card), rows of each split, settings of training, parameters, and the code of plug-ins in files.
Beside it the record's statistics of the data must be those of the store, and its AUC that of its predictions, if kept.
Times are taken where the record is of this machine, as it has been running since, and was computed by as many workers
with as many threads as this run's cells are.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from bench import plugins
from bench.engine.evaluate import auc
from bench.environment import unlike
from bench.errors import ConfigError, DataError, storage_error
from bench.files import file_sha256
from bench.folders.bundle import opened
from bench.folders.fit import data_differ, misfits
from bench.folders.source import Source, cell_of, open_source
from bench.lease import SUFFIX, Lease, Leases
from bench.predictions import Predictions
from bench.records import CellRecord
from bench.registry import FILE_SUM
from bench.run.conditions import conditions
from bench.run.grid import Cell, MethodChoice, choose_method
from bench.run.job import PROTOCOL, ResolvedCell
from bench.run.session import DONE, PENALTIES_TRIED, TRIALS, VALID, Plan, Session, use_threads

__all__ = ["take"]

Say = Callable[[str], object]
_SHOWN = 6
_AUC_TOLERANCE = 1e-9
_TIMES = (*(item.name for item in fields(CellRecord) if item.name.endswith("_s")),)
_PLACE = ("host", "device", "threads")


@dataclass(frozen=True)
class _Found:
    """A record that fits, and the cell that it is of."""

    record: CellRecord
    source: Source
    differs: list[str]
    """In what it was timed otherwise than this run's cells are: then its times have no place beside theirs."""


def take(plan: Plan, say: Say, *, write: bool = True) -> int:
    """Take what ``plan.config.baselines`` name into the run folder; how many cells.

    Args:
        plan: of the run.
        say: is told, a line at a time, what was taken and left.
        write: False: only check.

    Raises:
        ConfigError: a recorded cell in the place of one of this run is another one, or nothing there is of this run.
        DataError: a folder or bundle is damaged, or a record in it was changed.
        StorageError: the run folder cannot be written.
    """
    config = plan.config
    if config.rerun == "always":
        raise ConfigError("--rerun always computes all cells anew, and --baselines takes recorded ones; leave one out.")
    use_threads(config)
    taken: set[str] = set()
    with ExitStack() as stack:
        sources = [_source(path, stack) for path in config.baselines]
        found = [one for source in sources for one in _fitting(source, plan, say)]
        for one in found if write else ():
            if one.record.config_hash not in taken and _write(one, plan):
                taken.add(one.record.config_hash)
    return len(taken)


def _source(path: Path, stack: ExitStack) -> Source:
    return open_source(stack.enter_context(opened(path)), _shown(path))


def _shown(path: Path) -> str:
    """What records call it: no absolute path."""
    return path.name if path.is_absolute() else str(path)


def _fitting(source: Source, plan: Plan, say: Say) -> Iterator[_Found]:
    """The records of a source that are cells of this run, or of its data, backbones, prune ratios and seeds.

    Raises:
        ConfigError, DataError: as of ``take``.
    """
    left: Counter[str] = Counter()
    places: dict[Cell, list[CellRecord]] = {}
    choices: dict[str, MethodChoice] = {}
    for record in source.records:
        if reason := _elsewhere(record, plan) or _unusable(record, plan, choices):
            left[reason] += 1
        else:
            places.setdefault(cell_of(record), []).append(record)
    if not places:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left.items())
        raise ConfigError(f"baselines={source.name} has no cell for this run: its records are {reasons}.")
    there = replace(plan, config=replace(plan.config, out=source.path), methods=choices | plan.methods)
    session = Session(there)  # as if this run were at work there: trials and what rows are held to are those of there
    ours = conditions(plan)
    found, faults = [], []
    for cell, records in places.items():
        resolved = session.cell(cell)
        same = [one for one in records if one.config_hash == resolved.hash and _held(resolved, one)]
        same = same if resolved.decided else []
        if not same:
            faults.append((cell, *misfits(resolved, records[0])))
        for one in same:
            _check(one, source, resolved)
            found.append(_Found(one, source, unlike(_timed_in(one), ours)))
    if faults:
        raise ConfigError(_refusal(source, faults))
    say(_told(found, source, left))
    yield from found


def _elsewhere(record: CellRecord, plan: Plan) -> str:
    """Why a record has no place in the tables of this run."""
    config = plan.config
    if record.status not in DONE:
        return "without a result"
    if record.dataset not in plan.cards:
        return f"of the data set {record.dataset}"
    if record.backbone not in plan.backbones:
        return f"of the backbone {record.backbone}"
    if record.tau is not None and record.tau not in config.prune_ratio:
        return f"of the prune ratio {record.tau:g}"
    return "" if record.seed < config.seeds else f"of seeds from {config.seeds} on"


def _unusable(record: CellRecord, plan: Plan, choices: dict[str, MethodChoice]) -> str:
    """Why nothing here can say what the method of a record is; else it is among ``choices``."""
    label, told = record.label, (record.plugins or {}).get("method", {})
    if label not in plan.methods and label not in choices:
        try:
            choices[label] = replace(choose_method(label), budget_by=plan.config.budget_by)
        except ConfigError:
            return f"of {label}, which is not known here" + (f" (--plugin {told['file']})" if FILE_SUM in told else "")
    here = plugins.methods().version(record.method).get(FILE_SUM)
    return "" if here == told.get(FILE_SUM) else f"of another version of {label}"


def _held(resolved: ResolvedCell, record: CellRecord) -> bool:
    """Whether a row that is held to another's bytes was held to those that this one has now."""
    return resolved.match is None or resolved.match.set(record)


def _check(record: CellRecord, source: Source, resolved: ResolvedCell) -> None:
    """Compare what an identity does not hold.

    Raises:
        DataError: the record or its predictions were changed.
    """
    where = f"{source.name}: cells/{source.folder.cell_file(record.config_hash).name} ({cell_of(record).title})"
    differ = list(data_differ(resolved, record))
    differ += [f"protocol {record.protocol}"] if record.protocol not in (None, PROTOCOL) else []
    if differ:
        raise DataError(f"{where} was changed: {', '.join(differ)}. Take the folder or bundle from its origin again.")
    kept = Predictions(source.folder.predictions)
    if record.status != "ok" or record.auc is None or not kept.has(record.config_hash, record.predictions):
        return
    entry = record.predictions or {}
    both = (kept.logits(record.config_hash, entry), kept.labels(entry))
    logits, labels = (torch.from_numpy(one.copy()) for one in both)
    if abs((again := auc(logits, labels)) - record.auc) > _AUC_TOLERANCE:
        raise DataError(
            f"{where} was changed: AUC {record.auc:.6f} in the record, {again:.6f} by its predictions. Take the folder "
            "or bundle from its origin again."
        )


def _refusal(source: Source, faults: Sequence[tuple[Cell, list[str], str]]) -> str:
    """All that does not fit, places of one reason together."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell, differ, mend in faults:
        reasons.setdefault((", ".join(differ), mend), []).append(cell.title)
    lines = [f"baselines={source.name}: {len(faults)} recorded cells are not those of this run:"]
    for (said, mend), titles in list(reasons.items())[:_SHOWN]:
        more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
        lines.append(f"  {titles[0]}{more}: {said}. {mend}")
    return "\n".join(lines)


def _told(found: Sequence[_Found], source: Source, left: Counter[str]) -> str:
    untimed = [", ".join(one.differs) for one in found if one.differs]
    text = f"{source.name}: {len(found)} recorded cells fit"
    if untimed:
        differs = "; ".join(list(dict.fromkeys(untimed))[:_SHOWN])
        text += f", {len(untimed)} of them without their times (there and here: {differs})"
    rest = [f"{count} {reason}" for reason, count in left.items()]
    return text + (f"; left: {', '.join(rest[:_SHOWN])}{', …' if len(rest) > _SHOWN else ''}" if rest else "")


def _timed_in(record: CellRecord) -> dict[str, Any]:
    """Where the times of a record were measured: by a timing pass, or when it was made."""
    return {key: (record.timing or vars(record))[key] for key in _PLACE}


def _write(one: _Found, plan: Plan) -> bool:
    """Put a record and its predictions into the run folder, unless a result is there or another process makes one."""
    session, record = Session(plan), one.record
    folder, hashed = session.folder, record.config_hash
    there = folder.read(hashed)
    if there is not None and there.status in DONE:
        return False
    with Leases() as leases:
        lease = leases.take(folder.cell_file(hashed).with_suffix(SUFFIX))
        if not isinstance(lease, Lease):
            return False
        with lease:
            try:
                _copy_trials(one.source.path, folder.path)
                entry = _copy_predictions(one, session)
            except OSError as error:
                raise storage_error(error, folder.path) from error
            if not lease.seal():
                return False
            folder.write(replace(_as_taken(one), predictions=entry))
    return True


def _as_taken(one: _Found) -> CellRecord:
    """The record with its origin, and without times where they were measured otherwise than this run's are."""
    record, timed = one.record, not one.differs
    file = one.source.folder.cell_file(record.config_hash)
    origin = record.origin or {"source": one.source.name, "sha256": file_sha256(file)}
    changes: dict[str, Any] = {"origin": {**origin, "times": timed}}
    if not timed:
        changes |= {**dict.fromkeys(_TIMES), "phases": {}, "disturbed": None, "timing": None, "resumed": False}
    return replace(record, **changes)


def _copy_trials(source: Path, run: Path) -> None:
    """What learning rates and L2 were chosen by, without which cells would be chosen for anew."""
    for name in (TRIALS, PENALTIES_TRIED):
        for file in sorted((source / name).glob("*.json")):
            _copy_once(file, run / name / file.name)


def _copy_predictions(one: _Found, session: Session) -> dict[str, Any] | None:
    """Copy the predictions of a cell, as far as they are kept; what its record says of them then."""
    hashed, entry = one.record.config_hash, one.record.predictions
    for part, said in (("", entry), (VALID, (entry or {}).get(VALID))):
        kept = Predictions(one.source.folder.predictions / part)
        if said is not None and kept.has(hashed, said):
            for file in (kept.file(hashed), kept.folder / said["labels"]):
                _copy_once(file, session.folder.predictions / part / file.name)
    return entry


def _copy_once(file: Path, to: Path) -> None:
    if not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        beside = to.with_name(f".{to.name}.part")
        shutil.copyfile(file, beside)
        beside.replace(to)
