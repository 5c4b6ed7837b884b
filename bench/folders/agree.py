"""Whether two records of one cell say the same, but for where and when it was computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.records import CellRecord

__all__ = ["disagreements", "without_times"]

_CIRCUMSTANCES = {
    *("phases", "disturbed", "timing", "pt_shared", "resumed", "peak_mem_bytes", "notes"),  # how it went
    *("git", "host", "device", "threads", "versions", "command", "recorded", "origin"),  # where and when
    *("protocol", "plugins"),  # by what code
    *("dataset_title", "method_title", "method_order", "family", "field_terms", "profile"),  # words, or in the hash
    *("tuning", "penalty", "reason", "traceback"),
}
"""Keys that may differ in two records of one identity; ``bench.folders.union`` compares protocol and code."""
_LEAST = 12
"""Letters of a number that are shown in any case, so that two which differ late look different."""


def disagreements(one: CellRecord, other: CellRecord) -> list[str]:
    """In what results differ, in words; what only one of the two records says is no disagreement."""
    first, second = (
        {key: value for key, value in record.to_dict().items() if key not in _CIRCUMSTANCES} for record in (one, other)
    )
    return list(_unlike(without_times(first), without_times(second), ""))


def without_times(value: Any) -> Any:
    """JSON values without what a clock has measured: keys that end in ``_s``, and ``seconds``."""
    if isinstance(value, Mapping):
        return {key: without_times(item) for key, item in value.items() if not key.endswith("_s") and key != "seconds"}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> Iterator[str]:
    for key in one:
        here, there = one[key], other.get(key)
        if here is None or there is None or here == there:
            continue
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from _unlike(here, there, f"{where}{key}.")
        elif isinstance(here, list | Mapping):
            yield f"{where}{key} differ"
        else:
            yield f"{where}{key} {str(here)[:_LEAST]} and {str(there)[:_LEAST]}"
