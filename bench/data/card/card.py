"""Cards: what a data set is, where it comes from and how its raw files are read. A card is a TOML file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.budget import Terms
from bench.data.card.card_params import JUNK, NO_JUNK, Parameter, declared, resolve
from bench.data.card.field_terms import FieldTerms, read_field_terms, terms_of
from bench.data.card.layout import MAX_EXPANSION, Layout
from bench.data.card.layout_reader import read_layout
from bench.data.card.split_keys import check_group, read_split, shares_given, with_group
from bench.data.card.time_order import TimeOrder, read_order
from bench.data.card.toml_table import GONE, TomlTable, breaks_lines
from bench.errors import ConfigError
from bench.params import Range

MAX_NAME_BYTES = 100
"""Of a card's name: file systems take 255, and the names of stores, tables and figures are longer than it."""
DOWNLOADS = "raw"
"""Folder of fetched files, beside the stores and therefore no data set's name."""


@dataclass(frozen=True)
class Download:
    """A file that may be fetched without asking anybody."""

    url: str
    md5: str = ""
    """Published checksum; empty: it is read from ``url + ".md5"`` when the file is fetched."""

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Anchor:
    """What public results reach on the whole data set with every field kept: a lower bound of sound training."""

    rows: int
    """Rows of the whole public data set; results on fewer are not compared."""
    auc: dict[str, float]
    """Test AUC by registered name of the backbone."""
    source: str


@dataclass(frozen=True)
class DatasetCard:
    """A data set's definition with its parameters resolved."""

    name: str
    title: str
    revision: int
    """Goes up whenever the same raw file would give other ids or another split."""
    citation: str
    licence: str
    homepage: str
    terms: str
    """What a person does to get the raw file where no program may; else empty."""
    downloads: tuple[Download, ...]
    layouts: tuple[Layout, ...]
    """Shapes in which the raw table comes, the preferred one first; none for generated data."""
    generator: str
    """``module:callable`` that makes the data, or nothing."""
    shares: tuple[float, float, float]
    """Of the rows: train, valid, test; 0 for test where that has files of its own."""
    parameters: tuple[Parameter, ...]
    """What ``name[parameter=value]`` may set."""
    params: dict[str, Any]
    """The resolved value of every parameter."""
    overrides: dict[str, Any]
    """The parameters that differ from their defaults."""
    typed: str = ""
    """How the card is named on the command line: its name, or the path of a user's own."""
    embedding_dim: dict[str, int] = field(default_factory=dict)
    """Profile -> D, where the card asks for another than the profile's."""
    l2: dict[str, float] = field(default_factory=dict)
    """Profile -> L2, where the card measured its own."""
    evaluate_every: float = 1.0
    """Epochs between validations."""
    order: TimeOrder | None = None
    """What orders the rows in time; None where nothing does."""
    anchor: Anchor | None = None
    test_files: tuple[str, ...] = ()
    """Names (or patterns) of files whose rows are the test split; nothing where it is drawn from all rows."""
    group: str = ""
    """A column whose every value has all its rows in one split; nothing where rows are drawn one by one."""
    field_terms: FieldTerms = field(default_factory=dict)
    """On what terms fields may be dropped, by name or pattern."""

    @property
    def min_count(self) -> int:
        """Rows of train in which a value must occur to get an id of its own."""
        return int(self.params["min_count"])

    @property
    def split_seed(self) -> int:
        return int(self.params["split_seed"])

    @property
    def temporal(self) -> bool:
        """Whether the split is by time instead of by lot."""
        return bool(self.params["split"] == "temporal")

    @property
    def merged_buckets(self) -> bool:
        """Whether integer buckets share their ids with the literal values of the same number."""
        return self.params.get("numeric_buckets") == "merged"

    @property
    def max_expansion(self) -> int:
        """How many times its size a compressed raw file may unpack to."""
        return max((layout.max_expansion for layout in self.layouts), default=MAX_EXPANSION)

    @property
    def sample_rows(self) -> int | None:
        """How many rows are drawn of the raw table; None where their number is not given."""
        return self.params.get("rows") if self.layouts else None

    @property
    def sample_share(self) -> float | None:
        """The share of the raw table's rows that is drawn; None where it is not given."""
        return self.params.get("sample") if self.layouts else None

    @property
    def junk(self) -> str:
        """What is put beside the fields of a table; nothing for none, and of generated data, which make their own."""
        kind = self.params.get("junk", NO_JUNK) if self.layouts else NO_JUNK
        return "" if kind == NO_JUNK else str(kind)

    @property
    def junk_share(self) -> float:
        """Of all fields."""
        defaults = {one.name: one.default for one in self.parameters}
        return float(self.params.get("share", defaults["share"]))

    @property
    def plain(self) -> DatasetCard:
        """The same table without junk."""
        params, changed = ({k: v for k, v in d.items() if k not in JUNK} for d in (self.params, self.overrides))
        return replace(self, params=params, overrides=changed)

    @property
    def is_derived(self) -> bool:
        """Whether the store is made without raw files: generated, or from another store."""
        return bool(self.generator or self.junk)

    @property
    def column_names(self) -> frozenset[str]:
        """The columns of the raw table, in whichever shape it comes."""
        return frozenset(column.name for layout in self.layouts for column in layout.columns)

    @property
    def key(self) -> str:
        """Name of the store's folder: the card's name and, with parameters of its own, a hash of them."""
        if not self.overrides:
            return self.name
        text = json.dumps(self.overrides, sort_keys=True, separators=(",", ":"))
        return f"{self.name}@{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def spec(self) -> str:
        """The card's name with the parameters that differ from their defaults; tables and records show it."""
        return self.name + self._brackets

    @property
    def typed_spec(self) -> str:
        """The card as it is written on the command line."""
        return (self.typed or self.name) + self._brackets

    @property
    def own_title(self) -> str | None:
        """The title of a user's own card, which no registry knows."""
        return self.title if self.typed else None

    @property
    def _brackets(self) -> str:
        pairs = ",".join(f"{name}={value}" for name, value in sorted(self.overrides.items()))
        return f"[{pairs}]" if pairs else ""

    @property
    def definition(self) -> str:
        """sha256 over all that decides what the store holds, parameters apart."""
        parts: dict[str, Any] = {
            "layouts": [layout.described for layout in self.layouts],
            "generator": self.generator,
            "shares": self.shares,
        }
        if self.temporal and self.order is not None:
            parts["order"] = asdict(self.order)
        if self.test_files:
            parts["test_files"] = self.test_files
        if self.group:
            parts["split_group"] = self.group
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def profile_values(self) -> dict[str, Any]:
        """What the card asks of the training profiles."""
        return {"embedding_dim": self.embedding_dim, "l2": self.l2, "evaluate_every": self.evaluate_every}

    @property
    def in_whole_classes(self) -> bool:
        """Whether rows are drawn within each class, so that every split has its share of both."""
        return not self.temporal and not self.group

    def terms_of_fields(self, names: Sequence[str]) -> Terms:
        """On what terms the fields ``names`` may be dropped; of a table that lacks fields of the card, the others.

        Raises:
            ConfigError: of generated data, a name that is no field's.
        """
        made = {name for layout in self.layouts for name in layout.fields}
        every = list(dict.fromkeys([*names, *sorted(made.difference(names))]))
        found = terms_of(self.field_terms, every, f"data set {self.name!r}: [fields]")
        return found.among(len(names))


def load_card(path: Path, overrides: Mapping[str, str] | None = None) -> DatasetCard:
    """Read the card ``path`` and set its parameters.

    Args:
        path: the TOML file.
        overrides: parameter -> text, as given in ``name[parameter=value]``.

    Raises:
        ConfigError: an unknown, missing or ill-typed key; an unknown parameter, or a value out of its range.
    """
    return read_card(TomlTable.read(path), overrides)


def read_card(table: TomlTable, overrides: Mapping[str, str] | None = None) -> DatasetCard:
    """``load_card`` of a file that is read.

    Raises:
        ConfigError: as of ``load_card``; a ``TomlFault`` names the key.
    """
    name = table.take("name", str)
    layouts = tuple(read_layout(raw) for raw in _raw_tables(table))
    generator = table.take("generator", str, "")
    if bool(layouts) == bool(generator):
        key, instead = ("generator", GONE) if generator else ("raw", _ANY_RAW)
        raise table.fault("a card has either a [raw] table or a generator.", key, instead=instead)
    has_integers = any(column.role == "integer" for one in layouts for column in one.columns)
    parameters = declared(table, has_integers, has_files=bool(layouts))
    params, changed = resolve(name, parameters, overrides or {})
    shares, test_files, group = read_split(table)
    card = DatasetCard(
        name=name,
        title=table.take("title", str, name),
        revision=table.take("revision", int, 1),
        citation=table.take("citation", str, ""),
        licence=table.take("licence", str, ""),
        homepage=table.take("homepage", str, ""),
        terms=table.take("terms", str, "").strip(),
        downloads=_read_downloads(table),
        layouts=with_group(layouts, group, table.where),
        generator=generator,
        shares=shares_given(name, params, shares, test_files),
        parameters=parameters,
        params=params,
        overrides=changed,
        embedding_dim=table.take_map("embedding_dim", int),
        l2=table.take_map("l2", float),
        evaluate_every=table.take("evaluate_every", float, 1.0),
        order=read_order(table, layouts),
        anchor=_read_anchor(table),
        test_files=test_files,
        group=group,
        field_terms=read_field_terms(table, None if generator else (f for one in layouts for f in one.fields)),
    )
    table.done()
    _check(card, table)
    _check_test_files(card, table)
    check_group(group, table.where, generated=bool(generator), temporal=card.temporal, test_files=bool(test_files))
    _check_profiles(card, table)
    return card


_ANY_RAW = {"columns": {"y": "label", "x": "categorical"}}
"""What a check goes on with where a card has no table."""


def _check(card: DatasetCard, table: TomlTable) -> None:
    name = card.name
    plain = bool(name) and not name.startswith(".") and all(letter.isalnum() or letter in "-_." for letter in name)
    if not plain or name == DOWNLOADS:
        raise table.fault(
            f"name = {name!r} must consist of letters, digits, '-', '_', '.' and not be {DOWNLOADS!r}.",
            "name",
            instead="x",
        )
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        raise table.fault(
            f"name = '{name[:20]}…' has {size} bytes, and files are named after it; choose one of at most "
            f"{MAX_NAME_BYTES}, and give the long one as title.",
            "name",
            instead="x",
        )
    if breaks_lines(card.title):
        raise table.fault(f"title = {card.title!r} must be one line without control characters.", "title")
    if card.temporal and card.order is None:
        raise ConfigError(f"data set {name!r}: split=temporal needs rows in an order of time, and {_no_order(card)}.")


def _check_test_files(card: DatasetCard, table: TomlTable) -> None:
    """Make sure that a test split of its own can be read and is asked for.

    Raises:
        ConfigError: generated rows, or a split by time.
    """
    if card.test_files and card.generator:
        what = "[split] test = { files = … }: generated rows have no files; give a share."
        raise table.fault(what, "split", "test")
    if card.test_files and card.temporal:
        raise ConfigError(
            f"data set {card.name!r}: split=temporal takes the latest rows for the test split, and the card has test "
            f"files of its own; leave split=temporal out, or give [split] test a share."
        )


def _check_profiles(card: DatasetCard, table: TomlTable) -> None:
    """Make sure that what the card asks of the training profiles can be.

    Raises:
        ConfigError: a value out of its range.
    """
    every = ("evaluate_every",)
    entries: list[tuple[tuple[str, ...], float, Range]] = [(every, card.evaluate_every, Range(0, open_low=True))]
    entries += [(("embedding_dim", name), dim, Range(1)) for name, dim in card.embedding_dim.items()]
    entries += [(("l2", name), l2, Range(0)) for name, l2 in card.l2.items()]
    for keys, value, limits in entries:
        if not math.isfinite(value) or value not in limits:
            shown = f"[{keys[0]}] {keys[1]}" if len(keys) > 1 else keys[0]
            raise table.fault(f"{shown} = {value} is out of range; allowed: {limits}.", *keys)


def _no_order(card: DatasetCard) -> str:
    """Why a card has no order of time, and what to do."""
    if card.generator:
        return "generated rows have none; leave it out, or write [split=random]"
    return 'its card names none; add a [time] table with column = "...", of the kind \'time\', or order = "file"'


def _raw_tables(table: TomlTable) -> list[TomlTable]:
    if "raw" not in table:
        return []
    raw = table.pop("raw")
    entries = raw if isinstance(raw, list) else [raw]
    if not all(isinstance(entry, dict) for entry in entries):
        raise table.fault("raw must be a table.", "raw", instead=_ANY_RAW)
    if not isinstance(raw, list):
        return [table.inner(raw, ": [raw]", "raw")]
    return [table.inner(entry, ": [raw]", "raw", place) for place, entry in enumerate(entries)]


def _read_downloads(table: TomlTable) -> tuple[Download, ...]:
    downloads = []
    for number, entry in enumerate(table.take("download", list, [])):
        one = table.inner(entry, ": [[download]]", "download", number)
        found = Download(one.take("url", str), one.take("md5", str, ""))
        one.done()
        name = found.file_name
        if (
            not name
            or name.startswith(".")
            or "\\" in name
            or breaks_lines(name)
            or len(name.encode()) > MAX_NAME_BYTES
        ):
            raise one.fault(
                f"url = {found.url[:80]!r} must end in the file's name, of at most {MAX_NAME_BYTES} bytes "
                f"and without control characters: it is kept under that name.",
                "url",
                instead="x",
            )
        downloads.append(found)
    return tuple(downloads)


def _read_anchor(table: TomlTable) -> Anchor | None:
    if "anchor" not in table:
        return None
    one = table.table("anchor")
    anchor = Anchor(one.take("rows", int), one.take_map("auc", float), one.take("source", str))
    one.done()
    for backbone, auc in anchor.auc.items():
        if not 0.5 < auc < 1:
            raise one.fault(f"auc of {backbone} = {auc} is out of range; allowed: (0.5, 1).", "auc", backbone)
    return anchor
