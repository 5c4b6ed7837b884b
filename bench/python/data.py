"""A data set for the functions beside it: prepared from a frame, a table, a card, or by a name."""

from __future__ import annotations

import hashlib
import html
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import parquet

from bench.data.card.card import DatasetCard, load_card
from bench.data.card.starter import card_name
from bench.data.look.card_text import summary
from bench.data.look.look import Look, free_name, look_at
from bench.data.prepare.origin import raw_differs
from bench.data.prepare.prepare import prepare
from bench.data.prepare.ready import make_ready
from bench.data.prepare.workspace import reserved
from bench.data.store.fields import describe
from bench.data.store.manifest import MANIFEST
from bench.data.store.store import StoreFacts, read_checked, read_facts, store_folder
from bench.datasets import datasets, resolve_dataset
from bench.errors import ConfigError, DataError
from bench.files import file_sha256, write_atomically
from bench.params import parse_spec
from bench.python.cards import Said, card_of, to_toml
from bench.python.frames import as_frame, is_name, names_of, to_arrow
from bench.python.work import teller, working_folder

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Data", "checked", "dataset", "write_table"]

Tell = Callable[[str], None]
FRAME = "frame"
"""Name of a data set made from a frame, where none is given."""


@dataclass(frozen=True)
class Data:
    """A prepared data set."""

    spec: str
    """By which ``python -m bench`` knows it: a name, or the path of a card; parameters in brackets."""
    data_dir: Path
    """Folder of its store."""
    ignored: Mapping[str, str] = field(default_factory=dict)
    """Columns that are no field, with the reason; of a table that had no card."""
    notes: tuple[str, ...] = field(default=(), repr=False)
    """What a look at such a table has told, one line each: possible leaks and twins among it."""

    @cached_property
    def card(self) -> DatasetCard:
        """What it is."""
        return resolve_dataset(self.spec)

    @property
    def chosen(self) -> dict[str, Any]:
        """Fields of ``RunConfig`` that name it."""
        return {"datasets": (self.spec,), "data_dir": self.data_dir}

    @cached_property
    def _facts(self) -> StoreFacts:
        return read_facts(store_folder(self.data_dir, self.card), self.card, None)

    @property
    def fields(self) -> list[str]:
        """Names of the fields."""
        return list(self._facts.names)

    @property
    def rows(self) -> dict[str, int]:
        """Rows of train, valid and test."""
        return dict(self._facts.split_rows)

    def describe(self) -> pd.DataFrame:
        """One row a field: kind, values, missing share, AUC of the field alone, twins; measured once and kept."""
        import pandas as pd  # noqa: PLC0415 - slow to import

        facts = describe(store_folder(self.data_dir, self.card), self.card).measured.fields
        keys = ("kind", "values", "missing", "top", "auc", "constant", "leak", "twins")
        return pd.DataFrame([{"field": one.name, **{key: getattr(one, key) for key in keys}} for one in facts])

    def __str__(self) -> str:
        """Rows, fields, and what is noteworthy."""
        rows = ", ".join(f"{name} {count:,}" for name, count in self.rows.items())
        n_fields = len(self.fields)
        first = f"{self.card.title}: {sum(self.rows.values()):,} rows ({rows}), {n_fields} field{'s' * (n_fields != 1)}"
        return "\n".join([first, *self.notes])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def checked(data: object, what: str) -> Data:
    """``data`` itself.

    Raises:
        ConfigError: it is something else, such as the frame that it should be made from.
    """
    if not isinstance(data, Data):
        raise ConfigError(
            f"{what}({type(data).__name__}): give what bench.dataset returns, as in {what}(bench.dataset(frame, "
            f'label="clicked")).'
        )
    return data


def dataset(  # noqa: PLR0913 - keyword arguments, each a key of the card
    source: Any,
    label: str = "",
    *,
    name: str = "",
    data_dir: str | Path | None = None,
    kinds: Mapping[str, Any] | None = None,
    keep: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    costs: Mapping[str, float] | None = None,
    replace: bool = False,
    verbose: bool = True,
    **card: Any,
) -> Data:
    """Prepare a data set.

    Args:
        source: a frame (pandas, polars, pyarrow, …); the path of a table (CSV, Parquet, a folder of parts); the path of
            a card (.toml); or the name of a registered data set. What has a card is only opened: prepare it before.
        label: the column that says what happened, where its name does not tell.
        name: of the data set in tables; "frame", or the file's name.
        data_dir: folder of its store; by default one that goes with the process, or "data" for what has a card.
        kinds: column -> categorical, integer (a count), numeric, time or ignore, where the guess is wrong; or a
            dictionary of all that a card may say of a column.
        keep: fields that are never dropped.
        groups: name -> fields that stay or go together.
        costs: field -> cost, in any unit.
        replace: whether a store of that name that was made from other data may be replaced.
        verbose: whether to tell what was found.
        **card: further keys of a card, such as min_count=5 or split={"group": "user_id"}.

    Raises:
        ConfigError: an unknown name or key, or no column that could be the label.
        DataError: the table cannot be read or split.
    """
    said = Said(kinds, keep, groups, costs, card)
    tell = teller(verbose)
    frame = as_frame(source)
    if frame is not None:
        texts = [own for own, kind in zip(names_of(frame), frame.schema.values(), strict=True) if is_name(kind)]
        with tempfile.TemporaryDirectory() as folder:
            raw = write_table(to_arrow(frame), Path(folder) / f"{card_name(Path(name or FRAME))}.parquet")
            return _make(_Table(raw, label, name or FRAME, texts, said, replace), data_dir, tell)
    if not isinstance(source, str | Path):
        raise ConfigError(
            f"dataset({type(source).__name__}): give a frame of pandas, polars or pyarrow, the path of a table or of a "
            f"card, or the name of a data set."
        )
    if _has_card(str(source)):
        return _open(str(source), Path("data" if data_dir is None else data_dir), label, said, tell)
    raw = Path(source)
    if not raw.exists():
        raise ConfigError(
            f"{raw}: there is no such file, and no data set of that name: {', '.join(datasets().names())}."
        )
    return _make(_Table(raw, label, name or card_name(raw.resolve()), (), said, replace), data_dir, tell)


def write_table(table: Any, file: Path) -> Path:
    """Write an Arrow table as Parquet, so plainly that its size is that of its values."""
    parquet.write_table(table, file, compression="none", use_dictionary=False)
    return file


def _has_card(source: str) -> bool:
    name = parse_spec(source).name
    return name.endswith(".toml") or name in datasets().names()


def _open(spec: str, data_dir: Path, label: str, said: Said, tell: Tell) -> Data:
    """A data set that has a card.

    Raises:
        ConfigError: something is said that the card says.
        DataError: it is not prepared.
    """
    if label or said:
        raise ConfigError(
            f"dataset({spec!r}): its card says what columns are for; leave out label and all but data_dir."
        )
    found = Data(spec, data_dir)
    make_ready([found.card], data_dir, tell)
    return found


@dataclass(frozen=True)
class _Table:
    """A table without a card."""

    raw: Path
    label: str
    name: str
    texts: Sequence[str]
    """Columns whose values are names by their type."""
    said: Said
    replace: bool


def _make(table: _Table, data_dir: str | Path | None, tell: Tell) -> Data:
    """Guess the card, and prepare the store unless it is there."""
    with tempfile.TemporaryDirectory() as folder:
        look = _look(table, Path(folder))
        name = free_name(table.name, datasets().names())
        text = to_toml(card_of(look, name, table.said, table.texts))
        draft = Path(folder) / f"{card_name(Path(name))}.toml"
        draft.write_text(text, encoding="utf-8")
        card = load_card(draft)
    place = working_folder(f"data-{_mark(table.raw, text)}") if data_dir is None else Path(data_dir)
    store = store_folder(place, card)
    with reserved(store, tell):
        if table.replace or not _is_there(store, card, table.raw):
            prepare(card, table.raw, store)
        with write_atomically(place / f"{name}.toml") as out:
            out.write(text)
    found = Data(str(place / f"{name}.toml"), place, _ignored(look, table.said), tuple(summary(look)))
    tell(str(found))
    return found


def _look(table: _Table, folder: Path) -> Look:
    try:
        return look_at(table.raw, table.label, folder)
    except ConfigError as error:  # its words are those of the command line
        raise ConfigError(str(error).replace("--label ", "label=")) from None


def _mark(raw: Path, text: str) -> str:
    """Tells data of one name apart where they have no folder of the user's."""
    sums = hashlib.sha256(text.encode())
    for file in [raw] if raw.is_file() else sorted(one for one in raw.rglob("*") if one.is_file()):
        sums.update(file_sha256(file).encode())
    return sums.hexdigest()[:8]


def _is_there(store: Path, card: DatasetCard, raw: Path) -> bool:
    """Whether the store holds just this.

    Raises:
        DataError: it holds something else.
    """
    if not (store / MANIFEST).exists():
        return False
    try:
        differs = raw_differs(card, raw, read_checked(store, card)["raw"])
    except DataError:
        differs = "under another card"
    if differs:
        raise DataError(
            f"{store} is there already, made {differs.removeprefix('made ')}; give another name=, or replace=True."
        )
    return True


def _ignored(look: Look, said: Said) -> dict[str, str]:
    found = {one.name: one.why for one in look.guesses if one.kind == "ignore" and one.name not in said.kinds}
    return found | {name: f"type {kind}" for name, kind in look.sample.unreadable if name not in said.kinds}
