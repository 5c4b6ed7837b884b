"""The folder of an exported model: network, vocabulary, rules, reader; whole or not there."""

from __future__ import annotations

import importlib
import json
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import environment
from bench.data.card.layout import Layout
from bench.data.prepare.workspace import Workspace
from bench.data.raw.compression import plain_name
from bench.data.schema import MISSING
from bench.data.store.manifest import schema_of
from bench.data.store.store import Store, store_folder
from bench.engine.evaluate import predict
from bench.engine.model import CTRModel
from bench.errors import ConfigError, DataError
from bench.export.network import Cut, input_names, missing_extra, to_onnx, without_empty_rows
from bench.export.rules import field_rules, generated_layout, table_rules, value_ids
from bench.files import file_sha256
from bench.rows.load import LoadedData, scalings
from bench.rows.rows import Rows
from bench.run.again import Again

NETWORK, VOCABULARY, READER, MANIFEST = "model.onnx", "vocabulary.json", "reader.py", "manifest.json"
LARGEST = 1 << 30
"""Bytes of a table beyond which its numbers lie in a file of their own: one of ONNX holds two GiB."""
TOLERANCE = 1e-5
"""How far a probability may be from the evaluated model's."""
CHECKED_ROWS = 4096
_WARM_UP, _REPEATS = 50, 1000
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """What was written, and what it is like."""

    folder: Path
    fields: tuple[str, ...]
    n_fields: int
    """Of the data set."""
    sizes: dict[str, int]
    """Bytes by file."""
    row_s: float
    """Seconds of the network for one row, median of repeats."""
    checked_rows: int
    apart: float
    """The largest difference of a probability from the evaluated model's on those rows."""
    looked_up: tuple[str, ...]
    """Kept fields that no column of the raw table makes."""


def check_target(folder: Path, force: bool) -> None:
    """Make sure, before anything is computed, that a model can be exported to ``folder``.

    Raises:
        ConfigError: a package is missing, or the folder is there and is not to be, or must not be, replaced.
    """
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(f"export: {missing_extra(error)}") from None
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"to={folder} is a file; name a folder.")
    if any(folder.iterdir()) and not all((folder / name).is_file() for name in (NETWORK, READER, MANIFEST)):
        raise ConfigError(f"to={folder} is there and is no exported model; name another folder.")
    if not force:
        raise ConfigError(f"to={folder} is there already; add --force to replace it, or name another folder.")


def check_fields(again: Again) -> None:
    """Make sure, before anything is computed, that the reader can make the kept fields of a row.

    Raises:
        ConfigError: a kept field pools several values, or the data have junk, which no row to score has.
    """
    if again.card.junk:
        raise ConfigError(
            f"{again.record.label} was trained on {again.card.spec}, whose junk fields no row to score has: export a "
            f"cell of {again.card.plain.spec}."
        )
    schema, kept = again.cell.data.schema, again.record.kept_fields
    pooled = [schema.names[place] for place in schema.pooled_fields if kept is None or place in kept]
    if pooled:
        raise ConfigError(
            f'{again.record.label} keeps {pooled[0]!r}, which pools several values a row (multi = "mean"), and an '
            f"exported model reads one id a field. Export a cell that drops it, or prepare the column with "
            f'multi = "combination".'
        )


def write_model(again: Again, model: CTRModel, data: LoadedData, folder: Path) -> Exported:
    """Write ``model``, which was trained on ``data``, to ``folder``, in the place of what is there.

    Raises:
        ConfigError: the model cannot be written as ONNX.
        DataError: the folder cannot be written, or the network does not score as the model does.
    """
    record = again.record
    if not model.schema.n_fields:
        raise ConfigError(f"{record.label} keeps no field: there is no model to export.")
    store = Store(store_folder(again.data_dir, again.card), again.card, again.rows)
    layout = _layout(again, store)
    scaling = scalings(store)
    cut = without_empty_rows(model)
    network = to_onnx(cut.model, f"{record.label} with {record.backbone}")
    names = model.schema.names
    rules = [field_rules(layout, name, scaling) for name in names]
    inputs = dict(zip(names, input_names(model.schema), strict=True))
    manifest = {
        "format": 1,
        "outputs": {"probability": "of label 1", "logit": "its log-odds"},
        "fields": [{**rule, "input": inputs[rule["name"]]} for rule in rules],
        "table": table_rules(again.card, layout),
        "cell": _told(again),
        "versions": environment.versions(),
    }
    with Workspace(folder, "--to") as work:
        _save(network, cut.model, work.folder / NETWORK)
        _dump(_vocabulary(store, cut, names), work.folder / VOCABULARY)
        (work.folder / READER).write_bytes(Path(__file__).with_name(READER).read_bytes())
        files = sorted(path for path in work.folder.iterdir())
        manifest["files"] = {path.name: file_sha256(path) for path in files}
        _dump(manifest, work.folder / MANIFEST, indent=1)
        sizes = {path.name: path.stat().st_size for path in sorted(work.folder.iterdir())}
        row_s, checked, apart = _measure(work.folder, model, cut, data.test, list(inputs.values()))
        work.publish()
    columns = {name for column in layout.columns for name in column.fields}
    looked_up = tuple(name for name in names if name not in columns)
    return Exported(folder, names, data.schema.n_fields, sizes, row_s, checked, apart, looked_up)


def _layout(again: Again, store: Store) -> Layout:
    """The layout of the table that the store was made of."""
    schema = schema_of(store.manifest)
    if again.card.generator:
        return generated_layout(schema.names, {field.name: field.kind for field in schema.fields})
    fitting = [layout for layout in again.card.layouts if layout.fields == schema.names]
    raw = [str(one["name"]).rsplit("/", 1)[-1] for one in store.manifest["raw"]]
    named = [layout for layout in fitting if any(layout.matches(one) or layout.matches(plain_name(one)) for one in raw)]
    return (named or fitting)[0]


def _told(again: Again) -> dict[str, Any]:
    """What the record says of the model, for whoever finds the folder."""
    record = again.record
    names = ("dataset", "dataset_revision", "backbone", "label", "tau", "seed", "auc", "logloss", "valid_auc")
    more = ("config_hash", "git", "field_names", "kept_fields", "backbone_params", "split_rows")
    return {name: getattr(record, name) for name in (*names, *more)}


def _vocabulary(store: Store, cut: Cut, names: tuple[str, ...]) -> dict[str, dict[str, int]]:
    schema, new_ids = store.vocabulary()
    found = value_ids(store.folder, schema, new_ids, schema_of(store.manifest), names)
    return {
        name: {text: int(cut.new_ids[name][place]) for text, place in values.items()} for name, values in found.items()
    }


def _dump(values: Mapping[str, Any], path: Path, indent: int | None = None) -> None:
    separators = None if indent else (",", ":")
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    path.write_text(text, encoding="utf-8")


def _save(network: Any, model: CTRModel, path: Path) -> None:
    import onnx  # noqa: PLC0415 - an extra

    apart = model.table.weight.numel() * model.table.weight.element_size() > LARGEST
    onnx.save_model(network, path, save_as_external_data=apart, location=f"{path.name}.data" if apart else None)


def _measure(folder: Path, model: CTRModel, cut: Cut, test: Rows, inputs: list[str]) -> tuple[float, int, float]:
    """Seconds of one row; rows that were scored, and how far their probabilities are from those of ``model``.

    Raises:
        DataError: farther than ``TOLERANCE``.
    """
    from bench.export.reader import Model  # noqa: PLC0415 - an extra

    rows = model.view(test.take(torch.arange(min(CHECKED_ROWS, len(test)))))
    feeds = dict(zip(inputs, encoded(rows, cut), strict=True))
    reader = Model(folder)
    found = reader.run(feeds)
    wanted = torch.sigmoid(predict(model, rows).double()).numpy()
    apart = float(np.abs(found - wanted).max(initial=0.0))
    if not apart <= TOLERANCE:  # so that NaN is found too
        raise DataError(
            f"the network scores a test row {apart:.2g} apart from the evaluated model, more than {TOLERANCE:g}; "
            f"nothing was written. A backbone or gate computes something else while it is exported."
        )
    return _row_seconds(reader, {name: column[:1] for name, column in feeds.items()}), len(rows), apart


def encoded(rows: Rows, cut: Cut) -> list[np.ndarray]:
    """The columns of ``rows`` as the network takes them."""
    schema, columns = rows.schema, []
    local = rows.ids.numpy().astype(np.int64) - schema.offsets[:-1]
    for place, field in enumerate(schema.fields):
        if field.kind == "numeric":
            assert rows.numeric is not None
            numbers = rows.numeric[:, schema.numeric_fields.index(place)].numpy()
            columns.append(np.where(local[:, place] == MISSING, np.float32(math.nan), numbers))
        else:
            columns.append(cut.new_ids[field.name][local[:, place]])
    return columns


def _row_seconds(reader: Any, row: Mapping[str, np.ndarray]) -> float:
    times = []
    for _ in range(_WARM_UP + _REPEATS):
        start = time.perf_counter()
        reader.run(row)
        times.append(time.perf_counter() - start)
    return statistics.median(times[_WARM_UP:])
