"""The records of several run folders as those of one: what has to be equal, and which of two equal ones is taken.

Of records of one cell that agree, one is taken: one with a result before one without; then one whose times nothing
disturbed and that was not resumed; then one whose predictions are kept; then that of the folder which is named first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import ConfigError
from bench.folders.agree import disagreements
from bench.folders.source import OLDEST_PROTOCOL, Source, cell_of
from bench.predictions import Predictions
from bench.records import CellRecord
from bench.registry import FILE_SUM, SUM_SHOWN
from bench.run.session import DONE

__all__ = ["Rules", "Taken", "united"]

SHOWN = 8
"""Conflicts of one kind that are listed."""
_COMMIT = 12


@dataclass(frozen=True)
class Taken:
    """A record, and the folder that it is taken from."""

    record: CellRecord
    source: Source


@dataclass(frozen=True)
class Rules:
    """What is asked for where folders do not agree."""

    prefer: Source | None = None
    """Whose results count."""
    mixed_code: bool = False
    """Whether cells of one row may have been computed by several versions of the code."""
    one_revision: bool = True
    """Whether data sets must be of one revision; tables show several apart."""


def united(sources: Sequence[Source], rules: Rules) -> list[Taken]:
    """One record a cell, sorted by the names of their files.

    Raises:
        ConfigError: the folders are of different protocols, of different revisions of data or code, or disagree in
            results; the message names cells, folders, what differs, and the mend.
    """
    faults = _of_protocol(sources)
    if rules.one_revision:
        faults += _of_revisions(sources)
    if not rules.mixed_code:
        faults += _of_code(sources)
    found, disagree = _chosen(sources, rules.prefer)
    if faults := [*faults, *disagree]:
        raise ConfigError("\n".join(["these folders do not go together:", *(f"  {fault}" for fault in faults)]))
    return found


def _of_protocol(sources: Sequence[Source]) -> list[str]:
    found: dict[int, Source] = {}
    for source in sources:
        for record in source.records:
            found.setdefault(record.protocol or OLDEST_PROTOCOL, source)
    if len(found) < 2:
        return []
    text = ", ".join(f"{number} in {source.name}" for number, source in sorted(found.items()))
    return [f"protocol {text}: cells were measured by different rules. Compute those of the older one again."]


def _of_revisions(sources: Sequence[Source]) -> list[str]:
    found: dict[str, dict[str | None, Source]] = defaultdict(dict)
    for source in sources:
        for record in source.records:
            found[record.dataset].setdefault(record.dataset_revision, source)
    mend = "Prepare it from the same files and card on both, and compute again; `report` shows several revisions apart."
    return [
        f"data set {name}: revision {', '.join(f'{one} in {source.name}' for one, source in several.items())}. {mend}"
        for name, several in found.items()
        if len(several) > 1
    ]


def _of_code(sources: Sequence[Source]) -> list[str]:
    """Rows whose cells lie in several folders, computed by other code in one than in another."""
    rows: dict[tuple[str, str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for source in sources:
        for record in source.records:
            if record.status in DONE:
                rows[record.dataset, record.backbone, record.label][source.name].add(_code(record))
    kinds: dict[str, list[str]] = defaultdict(list)
    for place, by_source in rows.items():
        if len({frozenset(codes) for codes in by_source.values()}) > 1:
            text = "; ".join(f"{' and '.join(sorted(codes))} in {name}" for name, codes in by_source.items())
            kinds[text].append(" ".join(place))
    mend = "Compute them with one version, or say --mixed-code where the change does not touch them."
    return [f"{_listed(places, '; ')}: code of {text}. {mend}" for text, places in kinds.items()]


def _code(record: CellRecord) -> str:
    """By what code a cell was computed: version of a plug-in, else the commit, else the version of the suite."""
    told: Mapping[str, str] = (record.plugins or {}).get("method", {})
    if FILE_SUM in told:
        return f"{told['file']} {told[FILE_SUM][:SUM_SHOWN]}"
    if "package" in told:
        return f"{told['package']} {told['version']}"
    if record.git is not None:
        commit, plus, _ = record.git.partition("+")
        return commit[:_COMMIT] + plus
    return f"version {record.versions.get('ctr-field-bench', 'unknown')}"


def _chosen(sources: Sequence[Source], prefer: Source | None) -> tuple[list[Taken], list[str]]:
    """One record a cell, and what disagrees."""
    places: dict[str, list[Taken]] = defaultdict(list)
    for source in sources:
        for record in source.records:
            places[record.config_hash].append(Taken(record, source))
    found, faults = [], []
    for _, those in sorted(places.items()):
        best = min(those, key=_rank)
        differ = [(one, said) for one in those if one is not best and (said := _differ(best, one))]
        if differ and prefer is not None and any(one.source is prefer for one in those):
            best = next(one for one in those if one.source is prefer)
        elif differ:
            other, said = differ[0]
            title = cell_of(best.record).title
            faults.append(f"{title}: {', '.join(said)} ({best.source.name} and {other.source.name})")
        found.append(best)
    if not faults:
        return found, []
    names = " or ".join(source.name for source in sources)
    mend = f"Say whose results count, --prefer {names}, or compute them again in one place."
    lines = [*faults[:SHOWN], *([f"… and {len(faults) - SHOWN} more cells"] if len(faults) > SHOWN else [])]
    return found, [*lines, mend]


def _differ(best: Taken, other: Taken) -> list[str]:
    """In what two records with results differ; a cell that failed elsewhere disagrees with nothing."""
    both = best.record.status in DONE and other.record.status in DONE
    return disagreements(best.record, other.record) if both else []


def _rank(taken: Taken) -> tuple[bool, bool, bool]:
    """Which record is taken: the smallest, and of equal ones the first."""
    record, kept = taken.record, Predictions(taken.source.folder.predictions)
    timed = record.timing is not None or (record.disturbed == {} and not record.resumed)
    has_predictions = kept.has(record.config_hash, record.predictions)
    return record.status not in DONE, bool(record.disturbed) or not timed, not has_predictions


def _listed(names: Iterable[str], between: str) -> str:
    those = list(names)
    rest = f"{between}and {len(those) - SHOWN} more" if len(those) > SHOWN else ""
    return between.join(those[:SHOWN]) + rest
