"""What tests of whole cells share."""

from __future__ import annotations

from typing import Any

from bench.records import CellRecord


def without_circumstances(record: CellRecord) -> dict[str, Any]:
    """A record without times, memory, dates, resumption and command."""
    kept = record.to_dict()
    for name in list(kept):
        if name.endswith("_s") or name in ("phases", "peak_mem_bytes", "resumed", "command"):
            del kept[name]
    return kept
