"""The cells of one data set and one backbone over all prune ratios: what most figures draw from.

Numbers are those of the tables. A figure has no room for the tables' marks, so a method that lacks a seed which
others of its column have is not drawn but named (``Place.lacking``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from bench.tables.cells import Block, GroupKey, Record, RowKey, blocks_of, group_key
from bench.tables.metrics import METRICS
from bench.tables.model import FEWER_SEEDS, Value
from bench.tables.naming import distinct_titles, row_titles
from bench.tables.overall import column_of
from bench.tables.titles import Titles

__all__ = ["Place", "places", "registered_controls", "tau_text"]

_LACKING_SHOWN = 12


@dataclass
class Place:
    """One data set, revision, split, setting and backbone; only complete numbers."""

    label: str
    """The data set as asked for, with what sets it apart."""
    backbone_label: str
    """The backbone as asked for."""
    dataset: str
    """Title of the data set, with what sets it apart."""
    backbone: str
    """Title of the backbone."""
    cells: list[int]
    """Numbers of the cells that were run here, among all of the run."""
    taus: tuple[float, ...]
    """Increasing; empty where no cell uses one."""
    group: GroupKey
    blocks: tuple[Block, ...]
    """By increasing τ; one alone where no cell uses it."""
    rows: dict[RowKey, str]
    """Titles of the methods that ran, in table order."""
    controls: frozenset[RowKey]
    """Rows of methods that only show what chance or a trivial rule reaches."""
    order: dict[RowKey, int | None]
    """Position among all rows of the run, so that a method looks alike in all figures; None for the baseline."""
    _columns: dict[tuple[float | None, str], dict[RowKey, Value]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Tells the place from the others of the run; nearly fit for a file name."""
        return f"{self.label}-{self.backbone_label}"

    @property
    def title(self) -> str:
        """Data set and backbone, and the prune ratio where there is one only."""
        tau = f", {tau_text(self.taus[0])}" if len(self.taus) == 1 else ""
        return f"{self.dataset}, {self.backbone}{tau}"

    def numbers(self, block: Block, metric: str) -> dict[RowKey, Value]:
        """The methods that have a number at every seed of the column, in table order."""
        key = (block.tau, metric)
        if key not in self._columns:
            column = column_of(block, self.group, METRICS[metric], self._rows(block))
            self._columns[key] = {
                row: v for (_, row, _), v in column.items() if v.seeds and FEWER_SEEDS.symbol not in v.flags
            }
        return self._columns[key]

    def entries(self) -> Iterator[tuple[Block, RowKey, float | None]]:
        """(cells, row, its own τ) of all that ran; what uses no τ once."""
        seen = set()
        for block in self.blocks:
            for row in self._rows(block):
                tau = self.sample(block, row)["tau"]
                if (row, tau) not in seen:
                    seen.add((row, tau))
                    yield block, row, tau

    def by_tau(self, row: RowKey, metric: str) -> dict[float, Value]:
        """The complete numbers of one method by increasing prune ratio; none where it uses no τ."""
        return {
            tau: self.numbers(block, metric)[row]
            for block, other, tau in self.entries()
            if other == row and tau is not None and row in self.numbers(block, metric)
        }

    def sample(self, block: Block, row: RowKey) -> Record:
        """Any cell of a row here."""
        return next(iter(block.at(self.group, row).values()))[0]

    def baseline(self, metric: str) -> tuple[str, Value] | None:
        """Title and number of the method that keeps every field."""
        for block in self.blocks:
            row = block.baseline(self.group)
            if row is not None and row in self.numbers(block, metric):
                return self.rows[row], self.numbers(block, metric)[row]
        return None

    def lacking(self, metrics: Sequence[str], rows: Collection[RowKey] | None = None) -> list[str]:
        """A sentence that names those of ``rows`` (default: all) that lack one of ``metrics``; none without any."""
        found = []
        for block, row, tau in self.entries():
            wanted = rows is None or row in rows
            if wanted and any(row not in self.numbers(block, metric) for metric in metrics):
                found.append(self.rows[row] + ("" if tau is None else f" at {tau_text(tau)}"))
        more = len(found) - _LACKING_SHOWN
        names = "; ".join(found[:_LACKING_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return [f"Not or not wholly drawn, for want of results at every seed: {names}."] if found else []

    def _rows(self, block: Block) -> list[RowKey]:
        return [row for row in block.rows if block.at(self.group, row)]


def tau_text(tau: float) -> str:
    return f"τ = {tau:g}"


def registered_controls() -> frozenset[str]:
    """Names of the installed methods that are controls by their family."""
    from bench import plugins  # noqa: PLC0415 - tables of plug-ins need not be read where the caller names them

    known = plugins.methods()
    return frozenset(name for name in known.names() if known.entry(name).family == "control")


def places(cells: Sequence[Record], titles: Titles, controls: Collection[str] | None = None) -> list[Place]:
    """Every place of a run, backbone by backbone, in table order.

    Args:
        cells: all records of the run.
        titles: names and order of data sets and backbones in print.
        controls: methods that are controls, by registered name; by default those whose entries say so.
    """
    controls = registered_controls() if controls is None else controls
    found = blocks_of(cells, titles)
    order = _order(found)
    reference = frozenset(row for block in found for row in block.rows if block.row_sample(row)["method"] in controls)
    whole = []
    for backbone in dict.fromkeys(block.backbone for block in found):
        own = [block for block in found if block.backbone == backbone]
        numbers: dict[GroupKey, list[int]] = {}
        for number, cell in enumerate(cells):
            if cell["backbone"] == backbone:
                numbers.setdefault(group_key(cell), []).append(number)
        groups = sorted(numbers, key=lambda group: (titles.dataset_rank(group.dataset), str(group)))
        samples = [cells[numbers[group][0]] for group in groups]
        names, labels = distinct_titles(samples, titles), distinct_titles(samples, Titles())
        for group, name, label in zip(groups, names, labels, strict=True):
            taus = tuple(sorted({cells[number]["tau"] for number in numbers[group]} - {None}))
            mine = tuple(block for block in own if group in block.groups)[: len(taus) or 1]
            ran = {row: block.row_sample(row) for block in mine for row in block.rows if block.at(group, row)}
            shown = row_titles({row: ran[row] for row in order if row in ran})
            title, own_cells = titles.backbone(backbone), numbers[group]
            whole.append(Place(label, backbone, name, title, own_cells, taus, group, mine, shown, reference, order))
    return whole


def _order(found: Sequence[Block]) -> dict[RowKey, int | None]:
    """All rows in table order with their numbers; None for those that keep every field."""
    samples = {row: block.row_sample(row) for block in found for row in block.rows}

    def position(row: RowKey) -> tuple[bool, int, str, str]:
        place = samples[row]["method_order"]
        return place is None, place or 0, row.label, row.budget or ""

    rows = sorted(samples, key=position)
    counted = [row for row in rows if not samples[row]["is_baseline"]]
    return {row: counted.index(row) if row in counted else None for row in rows}
