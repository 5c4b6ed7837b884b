"""Which files of the raw data are the table of a card: one, the parts of one, and a test table of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bench.data.card.card import DatasetCard
from bench.data.card.layout import Layout
from bench.data.raw.compression import plain_name
from bench.data.raw.names import no_tables
from bench.data.raw.sources import RawSource, shown
from bench.errors import DataError


@dataclass(frozen=True)
class Tables:
    """The files to read, in order; the row order is theirs."""

    layout: Layout
    members: tuple[str, ...]
    """One at least."""
    tests: tuple[str, ...] = ()
    """Files behind them whose rows are the test split."""
    passed_by: tuple[str, ...] = ()
    """Files of a folder that were not looked into: their names are not those of tables."""

    @property
    def shown(self) -> str:
        """The table's name for messages."""
        more = len(self.members) - 1
        return shown(self.members[0]) + (f" and {more} more" if more else "")

    def only(self, member: str) -> Tables:
        """One of the files alone."""
        return Tables(self.layout, *(((), (member,)) if member in self.tests else ((member,), ())))

    def check_alone(self, source: RawSource) -> None:
        """Make sure that a tar holds no second table behind the one that was read.

        Raises:
            DataError: it does, or the rest of the archive is damaged.
        """
        if not self.layout.join and len(self.members) == 1:
            source.check_alone(self.layout.files or ("*",), self.tests)


def choose_tables(card: DatasetCard, source: RawSource) -> Tables:
    """The layout in which the source holds the table, and the table's files.

    Raises:
        DataError: no member has a name that the card knows, a part is missing, or two files want to be the table.
    """
    tests = source.find_parts(card.test_files)
    if card.test_files and not tests:
        wanted = " or ".join(card.test_files)
        raise DataError(
            f"{source.shown}: [split] test of the card names {wanted}, which is not there; pass the "
            f"folder or archive that holds it, or give --raw once for each file."
        )
    if source.is_single or source.is_several:
        members = tuple(name for name in source.names() if name not in tests)
        if not members:
            raise DataError(f"{source.shown}: is the test file alone; pass the file of the other rows, too.")
        return Tables(_layout_of(card, members[0]), members, tests)
    for layout in card.layouts:
        patterns = layout.files or ("*",)
        passed = [] if layout.files else [name for name in beside_tables(source) if name not in tests]
        without = (*tests, *passed)
        members = source.find_parts(patterns, without) if layout.join else source.find_table(patterns, without)
        if members:
            return Tables(layout, members, tests, tuple(passed))
    raise _no_table(card, source, tests)


def beside_tables(source: RawSource) -> list[str]:
    """The files of a folder that are no tables by their names, or are those of a prepared data set."""
    return no_tables(source.names()) if source.lies_open and not source.is_several else []


def _layout_of(card: DatasetCard, name: str) -> Layout:
    """The layout whose files a file of that name is one of; the first, if none."""
    base = name.rsplit("/", 1)[-1]
    plain = plain_name(base)
    return next((one for one in card.layouts if one.matches(plain) or one.matches(base)), card.layouts[0])


def _no_table(card: DatasetCard, source: RawSource, tests: Collection[str]) -> DataError:
    wanted = [pattern for layout in card.layouts for pattern in layout.files]
    held = ", ".join(map(shown, source.names()[:8])) or "nothing"
    ignored = f"; {source.ignored}" if source.ignored else ""
    other = " besides the test files of the card" if tests else ""
    return DataError(
        f"{source.shown}: holds no {' or '.join(wanted)}{other} (it holds {held}{ignored}); pass the table's own file."
    )
