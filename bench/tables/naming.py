"""How the rows and columns of one table are called, and its caption."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import display_title
from bench.tables.cells import Block, GroupKey, Record, RowKey, code_of
from bench.tables.metrics import TT_S
from bench.tables.model import Item
from bench.tables.titles import Titles

__all__ = [
    "Names",
    "caption",
    "distinct_titles",
    "file_name",
    "names_of",
    "row_titles",
    "seeds_text",
    "setting",
    "table_name",
    "table_title",
]

_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Names:
    """Titles in one table, no two rows and no two columns alike."""

    backbone: str
    groups: dict[GroupKey, str]
    rows: dict[RowKey, str]

    def item(self, group: GroupKey, row: RowKey, detail: str = "") -> Item:
        """A row in a column, and what is said of it there."""
        return Item(f"{self.rows[row]} on {self.groups[group]}{detail}", (self.rows[row],), self.groups[group])


def names_of(block: Block, titles: Titles) -> Names:
    groups = distinct_titles([block.sample(group) for group in block.groups], titles)
    rows = row_titles({row: block.row_sample(row) for row in block.rows})
    return Names(titles.backbone(block.backbone), dict(zip(block.groups, groups, strict=True)), rows)


def row_titles(samples: Mapping[RowKey, Record]) -> dict[RowKey, str]:
    """Titles of methods, given a cell of each row; with budget, terms or version where two differ in it alone."""
    budgets, codes = (
        Counter(label for label, _ in {(row.label, getattr(row, part)) for row in samples})
        for part in ("budget", "code")
    )
    found = {}
    for row, cell in samples.items():
        parts = [f"{row.budget or 'no'} budget"] if budgets[row.label] > 1 else []
        parts += [row.terms] if row.terms else []
        title = display_title(row.label, cell["method_title"])
        parts += [f"version {row.code or 'of a package'}"] if codes[row.label] > 1 else []
        found[row] = f"{title} ({', '.join(parts)})" if parts else title
    return found


_MAX_FILE_NAME = 160
"""File systems take 255 bytes; kind, number, suffix and what marks a file half-written come on top."""
_HASH_CHARS = 10


def file_name(name: str, taken: Iterable[str]) -> str:
    """``name`` made fit for a file, numbered where it became equal to one of those ``taken``.

    One that is too long for a file or that has letters which not every system takes ends in a hash of the whole.
    """
    plain = re.sub(r"[^A-Za-z0-9._=]+", "-", name).strip("-.")
    if len(plain) > _MAX_FILE_NAME or any(letter.isalnum() and not letter.isascii() for letter in name):
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
        plain = f"{plain[: _MAX_FILE_NAME - _HASH_CHARS - 1]}-{digest}".lstrip("-")
    plain = plain or "unnamed"
    own = plain.casefold()  # some file systems take two cases of a letter for one
    count = sum(other == own or other.startswith(f"{own}~") for other in map(str.casefold, taken))
    return f"{plain}~{count + 1}" if count else plain


def distinct_titles(samples: Sequence[Record], titles: Titles) -> list[str]:
    """Titles of data sets, given a cell of each column; what differs is added where titles would be equal."""
    texts = []
    named = {(cell["dataset"], titles.dataset(cell["dataset"], cell["dataset_title"])) for cell in samples}
    uses = Counter(title for _, title in named)
    for cell in samples:
        title = titles.dataset(cell["dataset"], cell["dataset_title"])
        name = title if uses[title] == 1 else cell["dataset"]
        rivals = [other for other in samples if other["dataset"] == cell["dataset"]]
        parts = [describe(cell, rivals) for describe in _DISTINCTIONS]
        texts.append(" · ".join([name, *(part for part in parts if part)]))
    return texts


Describe = Callable[[Record, Sequence[Record]], str]
"""(cell, cells of the same data set) -> what sets the cell apart, or nothing."""


def _if_different(text: Callable[[Record], str]) -> Describe:
    return lambda cell, rivals: text(cell) if len({text(other) for other in rivals}) > 1 else ""


def _settings(key: str) -> Describe:
    """A dictionary's name, if rivals' names differ, and what differs under one name: ``max_epochs=1``.

    What trials have chosen differs from what was given in any case: cells of as many trials are compared.
    """

    def describe(cell: Record, rivals: Sequence[Record]) -> str:
        name, trials = cell[key].get("name"), cell[key].get("trials")
        alike = [other for other in rivals if other[key].get("name") == name]
        entries = sorted({entry for other in alike for entry in other[key]} - {"set"})
        named = [f"{key} {name}"] if len(alike) < len(rivals) else []
        alike = [other for other in alike if other[key].get("trials") == trials]
        differ = [entry for entry in entries if len({json.dumps(o[key].get(entry)) for o in alike}) > 1]
        return ", ".join([*named, *(f"{entry}={cell[key].get(entry)}" for entry in differ)])

    return describe


_DISTINCTIONS: tuple[Describe, ...] = (
    _if_different(lambda cell: f"revision {cell['dataset_revision']}"),
    _if_different(lambda cell: f"{_split_rows(cell)} rows"),
    _if_different(lambda cell: f"tuned by {n} trials" if (n := cell["profile"].get("trials")) else "defaults"),
    _settings("profile"),
    _settings("backbone_params"),
    _if_different(lambda cell: f"backbone version {code_of(cell, 'backbone') or 'of a package'}"),
)


def _split_rows(cell: Record) -> str:
    return "/".join(f"{cell['split_rows'].get(split, 0):,}" for split in _SPLITS)


def table_name(block: Block, groups: Sequence[GroupKey] = ()) -> str:
    """Name of a table of a backbone, τ and, where it has one of its own, a data set; fit for a file name."""
    tau = [f"tau{block.tau:g}"] if block.tau is not None else []
    plain = names_of(block, Titles()).groups if groups else {}
    return "-".join([block.backbone, *tau, *(plain[group] for group in groups)])


def table_title(names: Names, tau: float | None, what: str) -> str:
    return f"{what} with {names.backbone}" + ("" if tau is None else f" at prune ratio τ = {tau:g}")


def caption(block: Block, groups: Sequence[GroupKey], names: Names, meaning: str) -> str:
    """What was run, on how many rows and seeds, and what the columns mean.

    Args:
        block: the cells.
        groups: the data sets that the table shows.
        names: their titles.
        meaning: what the columns mean; ``{baseline}`` becomes the baseline and its seconds.
    """
    places = [(names.groups[group], block, group) for group in groups]
    return setting(places, meaning.format(baseline=_baseline_text(block, groups, names)))


def setting(places: Sequence[tuple[str, Block, GroupKey]], meaning: str) -> str:
    """Profile, seeds and rows of the places that a table shows, then what its columns mean.

    Args:
        places: (title, cells, column) of each, the title set where they differ.
        meaning: a sentence or more.
    """
    titles = [title for title, _, _ in places]
    samples = [block.sample(group) for _, block, group in places]
    profiles = [_profile_text(cell) for cell in samples]
    seeds = [_seed_text(block, group) for _, block, group in places]
    rows = [f"{_split_rows(cell)} rows" for cell in samples]
    facts = "; ".join(_once(titles, fact) for fact in (profiles, seeds, rows))
    parts = [f"{facts[0].upper()}{facts[1:]} (training/validation/test).", meaning]
    if any(len(block.seeds(group)) > 1 for _, block, group in places):
        parts.append("±: sample standard deviation over seeds.")
    return " ".join(parts)


def _profile_text(cell: Record) -> str:
    tuning, tuned = cell["tuning"], ""
    if tuning is not None:
        tuned = ", learning rate tuned" if "grid" in tuning else f", tuned by {tuning['planned']} trials"
    return f"profile {cell['profile'].get('name', 'unnamed')}{_apart_text(cell)}{tuned}"


def _apart_text(cell: Record) -> str:
    """What a run set itself in the profile, so that a caption names no profile for what it is not."""
    apart = dict(cell["profile"].get("set", {}))
    base = apart.pop("base", None)
    changed = ", ".join(f"{name}={_setting_text(value)}" for name, value in apart.items())
    if base is None:
        return f" with {changed}" if changed else ""
    return f" ({base} with {changed})" if changed else f" ({base})"


def _setting_text(value: object) -> str:
    if isinstance(value, list | tuple):  # sizes with a dash, as papers do; "1e-05-0.001" would not be read as two rates
        return ("-" if all(isinstance(item, int) for item in value) else ",").join(map(str, value)) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _once(titles: Sequence[str], facts: Sequence[str]) -> str:
    """A fact that all data sets share, said once; otherwise one after the other with their titles."""
    if len(set(facts)) == 1:
        return facts[0]
    return ", ".join(f"{fact} ({title})" for title, fact in zip(titles, facts, strict=True))


def _seed_text(block: Block, group: GroupKey) -> str:
    seeds = block.seeds(group)
    return seeds_text(seeds) if seeds else "no results"


def _baseline_text(block: Block, groups: Sequence[GroupKey], names: Names) -> str:
    """The baseline and its seconds on every data set, means over seeds."""
    rows = {group: row for group in groups if (row := block.baseline(group)) is not None}
    if not rows:
        return "a method that keeps every field, which was not run"
    times = []
    for group, row in rows.items():
        time = block.value(group, row, TT_S)
        ends = f" ({time.range_text})" if time.range_text else ""
        times.append(f"{time.text} s{ends} on {names.groups[group]}" if time.seeds else "")
    who = " or ".join(dict.fromkeys(names.rows[row] for row in rows.values()))
    return f"the training time of {who} ({', '.join(filter(None, times)) or 'not measured'})"


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds with runs shortened, e.g. ``seeds 0–2, 5``."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    texts = [str(a) if a == b else f"{a}–{b}" if b > a + 1 else f"{a}, {b}" for a, b in runs]
    return f"seed{'s' if sum(b - a + 1 for a, b in runs) > 1 else ''} {', '.join(texts)}"
