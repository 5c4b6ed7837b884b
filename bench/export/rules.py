"""How raw values become the numbers that a network takes, as plain data that the reader of an export goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import compute as pc
from pyarrow import parquet

from bench.data.card.card import DatasetCard
from bench.data.card.layout import Column, Layout
from bench.data.raw.buckets import lower_bounds
from bench.data.raw.markers import number_markers
from bench.data.schema import FIRST_VALUE, Schema
from bench.data.store import manifest as files
from bench.data.store.scaling import LIMIT, Scaling
from bench.errors import DataError

KINDS = {"categorical": "text", "integer": "count", "numeric": "number", "time": "time"}
"""The reader's kind of a column, by its role in the card."""
MULTI = {"combination": "combination", "first": "position"}
"""The same of a column with several values in a row."""
_LAST = 2**63
"""One above the largest number of a bucket."""


def table_rules(card: DatasetCard, layout: Layout) -> dict[str, Any]:
    """How the text of a table falls into values, and which values are missing."""
    markers = number_markers(layout.missing, layout.decimal)
    return {
        "format": layout.format,
        "files": list(layout.files),
        "join": layout.join,
        "columns": [column.name for column in layout.columns],
        "label": layout.label.name,
        "header": layout.header,
        "delimiter": layout.delimiter,
        "quote": layout.quote,
        "escape": layout.escape,
        "newlines_in_values": layout.newlines_in_values,
        "encoding": layout.encoding,
        "decimal": layout.decimal,
        "trim": layout.trim,
        "missing": list(layout.missing),
        "missing_numbers": [float(marker) for marker in markers],
        "merged_buckets": card.merged_buckets,
        "buckets": [*lower_bounds().tolist(), _LAST],
        "limit": LIMIT,
    }


def generated_layout(names: Sequence[str], kinds: Mapping[str, str]) -> Layout:
    """The layout of generated rows as ``prepare --raw-out`` writes them: label and fields, without a header."""
    columns = [Column(name, kinds[name], name) for name in names]
    return Layout(
        files=(),
        columns=(Column("label", "label", "label"), *columns),
        fields=tuple(names),
        delimiter="\t",
        header=False,
    )


def field_rules(layout: Layout, name: str, scaling: Mapping[str, Scaling]) -> dict[str, Any]:
    """Which column the field ``name`` is made of, and how; one that a side table gives is a column of its own."""
    column = next((one for one in layout.all_columns if name in one.fields), None)
    if column is None:
        return {"name": name, "column": name, "kind": KINDS["categorical"]}
    rules: dict[str, Any] = {"name": name, "column": column.name}
    if column.multi:
        place = column.fields.index(name)
        return rules | {"kind": MULTI[column.multi], "separator": column.separator, "place": place}
    rules["kind"] = KINDS[column.role]
    if column.role == "time":
        rules |= {"format": column.time_format, "part": dict(column.parts)[name]}
    if column.role == "numeric":
        rules |= {"mean": scaling[name].mean, "sd": scaling[name].sd}
    return rules


def value_ids(
    folder: Path, schema: Schema, new_ids: np.ndarray | None, full: Schema, names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """The local id of every value of the fields ``names`` that has one; columns of numbers have none.

    Args:
        folder: the store.
        schema: the fields with the vocabularies of the rows in use.
        new_ids: see ``Store.vocabulary``.
        full: the fields with the vocabularies of the store.
        names: the fields.

    Raises:
        DataError: the vocabulary does not fit the fields.
    """
    table = parquet.read_table(folder / files.VOCABULARY)
    found: dict[str, dict[str, int]] = {}
    for place, field in enumerate(full.fields):
        if field.name not in names or field.kind == "numeric":
            continue
        mine = table.filter(pc.equal(table.column("field"), field.name))
        texts = mine.column("value").to_pylist()[FIRST_VALUE:]
        local = np.arange(FIRST_VALUE, field.cardinality)
        if len(texts) != len(local):
            raise DataError(f"{folder / files.VOCABULARY}: {field.name!r} has other values; prepare the data anew.")
        if new_ids is not None:
            local = new_ids[local + full.offsets[place]] - schema.offsets[place]
        pairs = zip(texts, local.tolist(), strict=True)
        found[field.name] = {text: number for text, number in pairs if number >= FIRST_VALUE}
    return found
