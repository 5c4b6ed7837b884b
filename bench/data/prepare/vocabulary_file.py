"""The vocabulary as a table that people and other programs can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from bench.data.prepare.encode import Encoder
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


def write_vocabulary(path: Path, encoder: Encoder, merged_buckets: bool) -> None:
    """One row a local id: field, local id, value (null for rare and for missing), rows of train."""
    with parquet.ParquetWriter(path, _SCHEMA) as writer:
        for name, kind, vocabulary in zip(encoder.names, encoder.kinds, encoder.vocabularies, strict=True):
            if kind == "numeric":
                continue
            values = vocabulary.values
            if kind == "integer":
                values = pa.array(key_texts(np.asarray(values), merged_buckets), type=pa.large_string())
            n = len(vocabulary.counts)
            texts = pa.concat_arrays([pa.nulls(2, pa.large_string()), as_texts(values)])
            columns = [pa.repeat(name, n), pa.array(np.arange(n, dtype=np.int32)), texts, vocabulary.counts]
            writer.write_table(pa.table(columns, schema=_SCHEMA))
