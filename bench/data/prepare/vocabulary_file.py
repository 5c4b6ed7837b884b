"""The vocabulary as a table that people and other programs can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from bench.data.prepare.encode import Encoder, Vocabulary
from bench.data.raw.buckets import key_texts
from bench.data.raw.texts import as_texts

_SCHEMA = pa.schema(
    [
        ("field", pa.string()),
        ("local_id", pa.int32()),
        ("value", pa.large_string()),
        ("train_count", pa.int64()),
    ]
)


_ROWS_AT_ONCE = 1 << 17
"""Rows that are written at a time, of as many fields as it takes: the tables of many small fields are slow to write."""
_REPEATED = ["field", "train_count"]
"""Columns in which values repeat."""


def write_vocabulary(path: Path, encoder: Encoder, merged_buckets: bool) -> None:
    """One row a local id: field, local id, value (null for rare and for missing), rows of train."""
    with parquet.ParquetWriter(path, _SCHEMA, use_dictionary=_REPEATED) as writer:
        waiting: list[pa.Table] = []
        for name, kind, vocabulary in zip(encoder.names, encoder.kinds, encoder.vocabularies, strict=True):
            if kind == "numeric":
                continue
            waiting.append(_table(name, vocabulary, kind == "integer", merged_buckets))
            if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        writer.write_table(pa.concat_tables([*waiting, _SCHEMA.empty_table()]).combine_chunks())


def _table(name: str, vocabulary: Vocabulary, of_keys: bool, merged_buckets: bool) -> pa.Table:
    """The rows of one field."""
    values, n = vocabulary.values, len(vocabulary.counts)
    if of_keys:
        values = pa.array(key_texts(np.asarray(values), merged_buckets), type=pa.large_string())
    texts = pa.concat_arrays([pa.nulls(2, pa.large_string()), as_texts(values)])
    return pa.table(
        [pa.repeat(name, n), pa.array(np.arange(n, dtype=np.int32)), texts, vocabulary.counts], schema=_SCHEMA
    )
