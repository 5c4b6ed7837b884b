"""Are the numbers of a run those of the predictions that it kept? Computed by other means than the harness's own.

Nothing of ``bench.engine`` or ``bench.stats`` is used: AUC is scikit-learn's, DeLong's components come from SciPy's
mid-ranks instead of counts in sorted scores, all else is NumPy's and SciPy's from the formulas of PROTOCOL.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from bench.errors import DataError
from bench.predictions import Predictions
from bench.records import CellRecord, RunFolder

__all__ = ["TABLE", "Verdict", "verify"]

TABLE = "difference.csv"
"""File in ``tables/`` of the run folder, whose intervals are checked too."""
_TOLERANCE = {"auc": 1e-9, "logloss": 1e-6, "pcoc": 1e-6, "ece": 1e-6}
_BINS = 20
_ENDS = ("difference", "difference_low", "difference_high")
_DIFFERENCE_TOLERANCE = 1e-9
_LEVEL = 0.95


@dataclass
class Verdict:
    """What was found."""

    cells: int = 0
    """Cells whose numbers were computed again."""
    unkept: int = 0
    """Cells with results but without predictions."""
    differences: int = 0
    """Intervals of the table that were computed again."""
    unclear: int = 0
    """Intervals whose cells the table does not tell apart from others, or that are not kept."""
    off: dict[str, float] = field(default_factory=dict)
    """Largest deviation by number of the record."""
    faults: list[str] = field(default_factory=list)
    """Numbers that do not agree, and files that were changed; a line each."""


def verify(run: RunFolder) -> Verdict:
    """Compute anew what the records and the table of differences say, from kept predictions and labels.

    Raises:
        ConfigError: the folder is no run.
        DataError: a record cannot be read.
    """
    found, kept, sound = Verdict(), Predictions(run.predictions), list[CellRecord]()
    for record in run.require().records():
        if record.status != "ok":
            continue
        entry = record.predictions
        if entry is None or not kept.has(record.config_hash, entry):
            found.unkept += 1
            continue
        found.cells += 1
        try:
            _check_cell(record, *_kept(record, kept), found)
        except DataError as error:
            found.faults.append(f"{_title(record)}: {error}")
            continue
        sound.append(record)
    _check_table(run, sound, kept, found)
    return found


def _kept(record: CellRecord, kept: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a cell, [N] each."""
    assert record.predictions is not None
    return kept.logits(record.config_hash, record.predictions), kept.labels(record.predictions)


def _check_cell(record: CellRecord, z: np.ndarray, y: np.ndarray, found: Verdict) -> None:
    for name, number in _numbers(z.astype(np.float64), y.astype(np.float64)).items():
        recorded = getattr(record, name)
        off = abs(recorded - number) if recorded is not None else float("inf")
        found.off[name] = max(found.off.get(name, 0.0), off)
        if not off <= _TOLERANCE[name]:
            found.faults.append(
                f"{_title(record)}: {name} {recorded} in the record, {number:.12g} from its predictions"
            )


def _numbers(z: np.ndarray, y: np.ndarray) -> dict[str, float]:
    p = expit(z)
    order = np.argsort(p)
    ascending = p[order]
    cuts = ascending[np.arange(1, _BINS) * len(p) // _BINS]
    begins = np.unique([0, *np.searchsorted(ascending, cuts)])  # equal predictions fall into one bin
    return {
        "auc": float(roc_auc_score(y, z)),
        "logloss": float(np.mean(np.logaddexp(0, z) - y * z)),
        "pcoc": float(p.mean() / y.mean()),
        "ece": float(np.abs(np.add.reduceat(ascending - y[order], begins)).sum() / len(p)),
    }


def _title(record: CellRecord) -> str:
    tau = "" if record.tau is None else f", τ = {record.tau:g}"
    return f"{record.label} on {record.dataset} with {record.backbone}{tau}, seed {record.seed}"


def _check_table(run: RunFolder, records: Sequence[CellRecord], kept: Predictions, found: Verdict) -> None:
    """Compare the intervals of ``tables/difference.csv``, if there is one.

    Raises:
        DataError: it is no table of the suite.
    """
    file = run.tables / TABLE
    if not file.is_file():
        return
    mend = f"Write it anew by `python -m bench report {run.path}`."
    try:
        intervals = list(_intervals(file.read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{file} is not readable as a table of differences ({error}). {mend}") from None
    for line, printed in intervals:
        pairs = _pairs(line, records)
        if not pairs:
            found.unclear += 1
            continue
        found.differences += 1
        own, base = ([_kept(pair[side], kept)[0] for pair in pairs] for side in (0, 1))
        again = _interval(own, base, _kept(pairs[0][0], kept)[1])
        for name, number, shown in zip(_ENDS, again, printed, strict=True):
            if not abs(number - shown) <= _DIFFERENCE_TOLERANCE:
                where = f"{line['label']} on {line['dataset']} with {line['backbone']}"
                found.faults.append(
                    f"{where}: {name} {shown} in tables/{TABLE}, {number:.12g} from predictions. {mend}"
                )


def _intervals(lines: Sequence[str]) -> Iterator[tuple[dict[str, str], list[float]]]:
    """Of every interval one of its lines, and mean, low and high."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    first: dict[tuple[str, ...], dict[str, str]] = {}
    for line in csv.DictReader(lines):
        if line["metric"] in _ENDS and line["mean"]:
            place = (line["table"], line["label"], line["budget"])
            found.setdefault(place, {})[line["metric"]] = float(line["mean"])
            first.setdefault(place, line)
    yield from ((first[place], [ends[name] for name in _ENDS]) for place, ends in found.items())


def _pairs(line: Mapping[str, str], records: Sequence[CellRecord]) -> list[tuple[CellRecord, CellRecord]]:
    """(cell, the baseline's cell) of each seed of a line; none where a cell is not kept or not the only one."""

    def is_here(record: CellRecord) -> bool:
        rows = [str(record.split_rows[split]) for split in ("train", "valid", "test")]
        place = (record.dataset, record.dataset_revision or "", record.backbone, str(record.profile.get("name")))
        told = tuple(line[key] for key in ("dataset", "dataset_revision", "backbone", "profile"))
        at = record.tau is None or line["tau"] == "" or float(line["tau"]) == record.tau
        return place == told and rows == [line[f"{split}_rows"] for split in ("train", "valid", "test")] and at

    pairs = []
    for seed in map(int, line["seeds"].split()):
        here = [record for record in records if record.seed == seed and is_here(record)]
        own = [r for r in here if r.label == line["label"] and (r.budget or "") == line["budget"]]
        base = [r for r in here if r.label == line["against"] and r.is_baseline]
        if len(own) != 1 or len(base) != 1:
            return []
        pairs.append((own[0], base[0]))
    return pairs


def _interval(own: Sequence[np.ndarray], base: Sequence[np.ndarray], y: np.ndarray) -> tuple[float, float, float]:
    """Mean, low and high of the difference in AUC over seeds and test rows."""
    positive, n_seeds = y == 1, len(own)
    shares = [np.subtract(_shares(a, positive), _shares(b, positive)) for a, b in zip(own, base, strict=True)]
    by_seed = [share[positive].mean() for share in shares]
    over_seeds = np.mean(shares, axis=0)
    rows = sum(over_seeds[part].var(ddof=1) / part.sum() for part in (positive, ~positive))
    seeds = np.var(by_seed, ddof=1) / n_seeds if n_seeds > 1 else 0.0
    dof = (n_seeds - 1) * ((seeds + rows) / seeds) ** (0.5 if n_seeds == 2 else 1) if seeds > 0 else np.inf
    half = stats.t.ppf((1 + _LEVEL) / 2, dof) * np.sqrt(seeds + rows)
    mean = float(np.mean(by_seed))
    return mean, mean - float(half), mean + float(half)


def _shares(z: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Of each row the share of the other class that it is on the right side of, a tie as half: [N]."""
    ranks, shares = stats.rankdata(z), np.empty(len(z))
    for own in (positive, ~positive):
        shares[own] = (ranks[own] - stats.rankdata(z[own])) / (~own).sum()
    shares[~positive] = 1 - shares[~positive]
    return shares
