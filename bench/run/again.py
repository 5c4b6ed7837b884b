"""A recorded cell once more, for its model: the record alone says how it was trained, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from bench import environment
from bench.data.card.card import DatasetCard
from bench.data.prepare.ready import make_ready
from bench.data.store.store import read_facts, store_folder
from bench.datasets import datasets, resolve_dataset, with_split
from bench.engine.device import choose_device
from bench.engine.model import CTRModel
from bench.errors import ConfigError, DataError
from bench.params import parse_spec
from bench.profiles import Profile
from bench.records import CellRecord, RunFolder
from bench.rows.load import LoadedData, load, place
from bench.rows.order import Blocks
from bench.rows.residency import table_bytes
from bench.run.cell import run_cell, train_again
from bench.run.config import RunConfig, base_config
from bench.run.context import Emit
from bench.run.grid import Cell, choose_method
from bench.run.job import Job, ResolvedCell, resolve_backbone
from bench.run.match import Match
from bench.run.selections import SelectionStore, ranking_key
from bench.run.session import SELECTIONS
from bench.run.study import restored
from bench.run.tuning import chosen

AUC_TOLERANCE = 1e-4
"""Farther from the record's AUC than this, the cell that was trained again is another one."""


@dataclass(frozen=True)
class Again:
    """A recorded cell with its data, ready to be trained again."""

    record: CellRecord
    card: DatasetCard
    data_dir: Path
    cell: ResolvedCell

    @property
    def rows(self) -> int:
        """Rows of the data set that the cell uses."""
        return sum(self.record.split_rows.values())


def settings_of(run: RunFolder) -> RunConfig:
    """The settings of the run's last command; the defaults where it has none."""
    return base_config(None, run.config_file, True) if run.config_file.is_file() else RunConfig()


def resolve_again(
    run: RunFolder, record: CellRecord, card: str | None, data_dir: Path | None, tell: Callable[[str], object]
) -> Again:
    """Resolve the cell of ``record``, a finished one of ``run``.

    Args:
        run: its folder.
        record: what was written down of it.
        card: the data set as on the command line; None: as the run's settings name it.
        data_dir: folder of the encoded data sets; None: as the run's settings have it.
        tell: takes a line where another process makes the data set, which is waited for.

    Raises:
        ConfigError: its data set, method, backbone or device is not known here.
        DataError: its data set is not prepared, or the cell that comes of the record is another one.
    """
    settings = settings_of(run)
    found = resolve_dataset(card) if card is not None else _card(record, settings)
    folder = settings.data_dir if data_dir is None else data_dir
    make_ready([found], folder, tell)
    facts = read_facts(store_folder(folder, found), found, sum(record.split_rows.values()))
    profile = _profile(record)
    cell = ResolvedCell(
        cell=Cell(record.dataset, record.backbone, record.label, record.tau, record.seed),
        data=facts,
        method=choose_method(record.label),
        backbone=resolve_backbone(record.backbone, profile),
        profile=profile,
        device=choose_device(record.device or "auto"),
        tuning=None if record.tuning is None else restored(record.tuning),
        match=None if record.match is None else Match.read(record.match),
        order=None if record.order is None else Blocks(int(record.order["window"])),
    )
    cell = cell if record.tuning is None else cell.assigned(chosen(record.tuning))
    if cell.hash != record.config_hash:
        raise DataError(_other(record, cell))
    return Again(record, found, folder, cell)


def _card(record: CellRecord, settings: RunConfig) -> DatasetCard:
    for text in settings.datasets:
        if parse_spec(text).name.endswith(".toml") or parse_spec(text).name == parse_spec(record.dataset).name:
            card = resolve_dataset(with_split(text, settings.split))
            if card.spec == record.dataset:
                return card
    if parse_spec(record.dataset).name in datasets().names():
        return resolve_dataset(record.dataset)
    raise ConfigError(
        f"data set {record.dataset!r}: the run's settings do not say which card it is of; give --card PATH.toml."
    )


def _profile(record: CellRecord) -> Profile:
    """The training profile of a record, tuned values in their place."""
    known = {item.name for item in fields(Profile)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in record.profile.items() if key in known
    }
    if record.tuning is not None:
        values |= {name: float(value) for name, value in chosen(record.tuning).items() if name in known}
    return Profile(**{"lr_grid": (values["lr"],)} | values)


def _other(record: CellRecord, cell: ResolvedCell) -> str:
    """Why the cell that comes of a record is not the recorded one."""
    now = cell.record()
    names = ("dataset_revision", "split_rows", "backbone_params", "params", "budget")
    changed = [
        f"{name} was {getattr(record, name)}, and is {getattr(now, name)}"
        for name in names
        if getattr(record, name) != getattr(now, name)
    ]
    why = "; ".join(changed) or "the rules of measurement have changed since"
    return (
        f"the cell {record.config_hash[:16]} cannot be trained again: {why}. Run it anew (`python -m bench run` with "
        f"its settings) and take the new cell."
    )


def train(again: Again, run: RunFolder, emit: Emit) -> tuple[CTRModel, LoadedData]:
    """The model of a recorded cell, trained again, in eval mode on the CPU, and the data.

    Raises:
        DataError: it fails, or its AUC is another than the record's.
    """
    record, (job, data) = again.record, _job(again, SelectionStore(run.path / SELECTIONS), emit)
    model, found = train_again(job)
    if model is None:
        raise DataError(f"the cell {record.config_hash[:16]} could not be trained again: {found['reason']}.")
    if record.auc is None or abs(found["auc"] - record.auc) > AUC_TOLERANCE:
        raise DataError(_unequal(record, found["auc"]))
    return model.cpu().eval(), data


def repeat(again: Again, emit: Emit) -> CellRecord:
    """The cell as it comes out here and now, its ranking included; nothing is written.

    Raises:
        StorageError: its data cannot be read.
    """
    job, _ = _job(again, None, emit)
    return run_cell(job)


def _job(again: Again, rankings: SelectionStore | None, emit: Emit) -> tuple[Job, LoadedData]:
    """The cell ready to run with its record's threads; a ranking that is among ``rankings`` is taken from there."""
    cell = again.cell
    if again.record.threads is not None:
        torch.set_num_threads(again.record.threads)
    data = load(store_folder(again.data_dir, again.card), again.card, again.rows, cell.order)
    placed = place(data, cell.device, table_bytes(data.schema, cell.profile.dim))
    key = None if rankings is None else ranking_key(cell.method, cell.identity)
    known = rankings is not None and key is not None and rankings.file(key).is_file()
    return cell.job(placed, emit=emit, shared=rankings if known else None), data


def _unequal(record: CellRecord, auc: float) -> str:
    what = "; ".join([*unlike_here(record), *unlike_code(record)]) or "nothing that is recorded"
    recorded = "no AUC" if record.auc is None else f"{record.auc:.6f}"
    return (
        f"the cell {record.config_hash[:16]} came out with another AUC, {auc:.6f}, than was recorded, {recorded}, so "
        f"this would be another model. What differs from then: {what}. Run the cell anew here (--rerun always), or "
        f"export it where it was run."
    )


def unlike_here(record: CellRecord) -> list[str]:
    """In what the machine of a record, its device and threads differ from those of this process, in words."""
    here = {"host": environment.host(), "device": record.device, "threads": torch.get_num_threads()}
    return environment.unlike({"host": record.host, "device": record.device, "threads": record.threads}, here)


def unlike_code(record: CellRecord) -> list[str]:
    """In what versions and commit of a record differ from those of this process, in words."""
    differs = _versions(record.versions, environment.versions())
    if record.git != environment.git_commit():
        differs.append(f"commit {record.git} and {environment.git_commit()}")
    return differs


def _versions(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    names = dict.fromkeys([*there, *here])
    return [f"{name} {there.get(name)} and {here.get(name)}" for name in names if there.get(name) != here.get(name)]
