"""Whether a recorded cell is the one that a run would compute: if not, in what, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.folders.source import OLDEST_PROTOCOL
from bench.records import CellRecord, plain
from bench.registry import SUM_SHOWN
from bench.run.job import ResolvedCell

__all__ = ["data_differ", "misfits"]

_MENDS = {
    "protocol": "It was measured by other rules: compute it anew, or take the version of the suite that recorded it.",
    "data": "Prepare the data that it was recorded with, or compute it anew.",
    "profile": "Run with the settings that it was recorded with (--profile, --set, --epochs), or compute it anew.",
    "choice": "Run with the settings that it was recorded with (--tune, --l2-grid), or compute it anew.",
    "method": "Its definition has changed since: compute it anew.",
}


def misfits(wanted: ResolvedCell, found: CellRecord) -> tuple[list[str], str]:
    """In what a record differs from the cell that stands in its place here, and the mend; the largest thing first."""
    expected = wanted.record()
    for kind, differ in (
        ("protocol", _of_protocol(expected, found)),
        ("data", data_differ(wanted, found)),
        ("profile", _of_settings(_profile(expected), _profile(found), "profile ")),
        ("choice", _of_choices(wanted, expected, found)),
        ("method", _of_definition(expected, found)),
    ):
        if said := list(differ):
            return said, _MENDS[kind]
    return ["its identity, by what its record does not hold"], _MENDS["method"]


def _of_protocol(expected: CellRecord, found: CellRecord) -> Iterator[str]:
    here, there = (record.protocol or OLDEST_PROTOCOL for record in (expected, found))
    if here != there:
        yield f"protocol {here} here and {there} there"


def data_differ(wanted: ResolvedCell, found: CellRecord) -> Iterator[str]:
    """What of the data a record says otherwise than the store: checksum, rows, positives, vocabulary, fields."""
    facts = wanted.data
    known: dict[str, tuple[Any, Any]] = {
        "data revision": (facts.revision, found.dataset_revision),
        "rows": (facts.split_rows, found.split_rows),
        "positives": (facts.positives, found.positives),
        "vocabulary rows": (facts.schema.vocabulary_rows, found.vocabulary_rows),
        "fields": (list(facts.names), found.field_names or None),
    }
    for name, (here, there) in known.items():
        if there is not None and here != there:
            yield f"{name} {_said(here)} here and {_said(there)} there"


def _profile(record: CellRecord) -> dict[str, Any]:
    """The settings of training; what words a user found for them does not count."""
    left_out = {"set"} | ({"lr"} if record.tuning else set()) | ({"l2"} if record.penalty else set())
    return {key: value for key, value in plain(record.profile).items() if key not in left_out}


def _of_settings(here: Mapping[str, Any], there: Mapping[str, Any], lead: str) -> Iterator[str]:
    for key in dict.fromkeys((*here, *there)):
        if _number(here.get(key)) != _number(there.get(key)):
            yield f"{lead}{key}={_said(here.get(key))} here and {_said(there.get(key))} there"


def _of_choices(wanted: ResolvedCell, expected: CellRecord, found: CellRecord) -> Iterator[str]:
    """How the learning rate and the L2 were chosen."""
    for key, name in (("tuning", "learning rate"), ("penalty", "L2")):
        here, there = (getattr(record, key) for record in (expected, found))
        if (here is None) != (there is None):
            how = ("given", "chosen") if here is None else ("chosen", "given")
            yield f"{name} {how[0]} here and {how[1]} there"
        elif here is not None and there is not None:
            for part in ("grid", "lr", "l2"):
                if _number(here.get(part)) != _number(there.get(part)):
                    yield f"{name}: {part} {_said(here.get(part))} here and {_said(there.get(part))} there"
    if not wanted.decided:
        yield "not all the trials that its settings are chosen by are there"


def _of_definition(expected: CellRecord, found: CellRecord) -> Iterator[str]:
    """Parameters of method and backbone, what a budget counts, and the code of plug-ins."""
    yield from _of_settings(plain(expected.params), plain(found.params), "parameter ")
    yield from _of_settings(plain(expected.backbone_params), plain(found.backbone_params), "backbone's parameter ")
    if expected.budget != found.budget:
        yield f"budget {expected.budget} here and {found.budget} there"
    for part in ("method", "backbone"):
        here, there = ((record.plugins or {}).get(part, {}).get("sha256") for record in (expected, found))
        if here != there:
            yield f"{part}'s file {_version(here)} here and {_version(there)} there"
    if (expected.field_terms or {}) != (found.field_terms or {}):
        yield "what the card says of fields"


def _version(sha256: str | None) -> str:
    return "none" if sha256 is None else sha256[:SUM_SHOWN]


def _number(value: Any) -> Any:
    """A list as it is, and 1.0 as 1, as identities have it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return "/".join(f"{one:,}" if isinstance(one, int) else str(one) for one in value.values())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
