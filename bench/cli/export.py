"""``python -m bench export``: the model of a cell as a folder that needs nothing of this suite."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from bench.export.write import Exported
    from bench.records import CellRecord

PROG = "python -m bench export"


@dataclass(frozen=True)
class ExportConfig:
    """Write the model of a cell as ONNX, with all that raw rows need to be scored by it.

    A run keeps records, no weights: the cell is trained again, with its record's settings and threads, and must come
    out with the recorded AUC. E.g. `export results/runs/x criteo light-fmp --to model/`.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    cell: tyro.conf.Positional[tuple[str, ...]] = ()
    """Data set and method as they were asked for; or the beginning of the cell's hash, as its file in cells/ is
    called; with --best either may be left out."""
    to: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("model")
    """Folder to write; it must not be there."""
    best: bool = False
    """Of several cells, the one of the highest validation AUC."""
    backbone: str | None = None
    """Only this backbone; all of the run by default."""
    tau: float | None = None
    """Only this prune ratio; all of the run by default."""
    seed: int | None = None
    """Only this seed; all of the run by default."""
    card: str | None = None
    """The data set's card, if it is no longer where the run's settings name it."""
    data_dir: Path | None = None
    """Folder of the encoded data sets; by default the run's."""
    force: bool = False
    """Replace the exported model that is there."""


def command(argv: Sequence[str]) -> int:
    """Train the cell again and write its model.

    Raises:
        ConfigError: no such cell, a model that cannot be written as ONNX, a folder that is there, a missing package.
        DataError: the cell does not come out as recorded, or a file cannot be read or written.
    """
    config = tyro.cli(ExportConfig, args=list(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    from bench.export.cell import Wanted, choose, title  # noqa: PLC0415
    from bench.export.write import check_fields, check_target, write_model  # noqa: PLC0415 - loads torch
    from bench.records import RunFolder  # noqa: PLC0415
    from bench.run.again import resolve_again, train  # noqa: PLC0415

    run = RunFolder(config.run)
    record = choose(run, Wanted(config.cell, config.backbone, config.tau, config.seed, config.best))
    check_target(config.to, config.force)
    again = resolve_again(run, record, config.card, config.data_dir, _say)
    took = "" if record.tt_s is None else f" (it took {record.tt_s:,.0f} s)"
    check_fields(again)
    _say(f"training {title(record)} again{took}")
    model, data = train(again, run, _warn)
    exported = write_model(again, model, data, config.to)
    sys.stdout.write(f"{_table(record, title(record), exported)}\n")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _warn(event: dict[str, object]) -> None:
    if event["event"] == "warning":
        _say(f"warning: {event['text']}")


def _table(record: CellRecord, cell: str, exported: Exported) -> str:
    network = sum(size for name, size in exported.sizes.items() if name.startswith("model.onnx"))
    total = sum(exported.sizes.values())
    rows = {
        "folder": f"{exported.folder}",
        "cell": f"{cell} ({record.config_hash[:12]})",
        "test": f"AUC {record.auc:.4f}, Logloss {record.logloss:.4f}",
        "fields": f"{len(exported.fields)} of {exported.n_fields}: {_listed(exported.fields)}",
        "size": f"{_bytes(total)}: network {_bytes(network)}, vocabulary {_bytes(exported.sizes['vocabulary.json'])}",
        "latency": f"{exported.row_s * 1e6:,.0f} µs a row (the network alone, median, onnxruntime, 1 thread)",
        "check": f"{exported.checked_rows:,} test rows as the evaluated model scores them, within {exported.apart:.1g}",
    }
    if exported.looked_up:
        rows["give"] = f"{_listed(exported.looked_up)} as columns: side tables held them in training"
    return "\n".join(f"{name:<9}{text}" for name, text in rows.items())


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
