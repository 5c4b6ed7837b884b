"""``python -m bench data check``: everything that is wrong with a card, and with a raw table by it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from bench.cli.ending import EXIT_USER_ERROR
from bench.cli.making import given_paths, spread_raw
from bench.datasets import card_path, datasets, refuse_taken
from bench.errors import ConfigError, DataError, printable

if TYPE_CHECKING:
    from bench.data.card.card import DatasetCard
    from bench.data.card.card_check import CheckedCard

PROG = "python -m bench data check"


@dataclass(frozen=True)
class CheckFlags:
    """Name everything that is wrong with a card, each thing with its line and column."""

    card: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CARD")]
    """The card, a TOML file."""
    raw: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """The raw data that it is for, as `prepare` takes them: their columns, and values of a sample, are compared too."""


def command(argv: Sequence[str]) -> int:
    """Check one card; status 2 where something is wrong.

    Raises:
        ConfigError: the file cannot be read.
    """
    flags = tyro.cli(CheckFlags, args=spread_raw(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    from bench.data.card.card_check import check_card  # noqa: PLC0415

    checked = check_card(flags.card)
    lines = [f"{flags.card}:{one.place.line}:{one.place.column}: {one.text}" for one in checked.faults]
    read = ""
    if checked.card is not None:
        lines += _taken(flags.card, checked, checked.card)
    if checked.card is not None and flags.raw:
        more, read = _compared(flags, checked, checked.card)
        lines += more
    if lines:
        later = "\n--raw is looked at once the card is mended." if flags.raw and checked.card is None else ""
        count = f"{len(lines)} thing{'s' * (len(lines) > 1)} to mend"
        sys.stdout.write(printable("\n".join(lines)) + f"\n{count}.{later}\n")
        return EXIT_USER_ERROR
    sys.stdout.write(printable(f"{flags.card}: fine: {_said(checked.card)}{read}") + "\n")
    return 0


def _taken(path: Path, checked: CheckedCard, card: DatasetCard) -> Iterator[str]:
    """That the name is another data set's, if it is."""
    from bench.data.card.toml_places import place_of  # noqa: PLC0415

    known = datasets()
    if card.name in known.names() and card_path(known.entry(card.name)).resolve() == path.resolve():
        return
    try:
        refuse_taken(card.name, path.name)
    except ConfigError as error:
        place = place_of(checked.places, ("name",))
        yield f"{path}:{place.line}:{place.column}: {str(error).removeprefix(f'{path.name}: ')}"


def _compared(flags: CheckFlags, checked: CheckedCard, card: DatasetCard) -> tuple[list[str], str]:
    """What does not fit in the raw data, and how much of them was looked at."""
    from bench.data.card.toml_places import place_of  # noqa: PLC0415
    from bench.data.look.raw_check import check_raw  # noqa: PLC0415

    if card.generator:
        raise DataError(f"{flags.card}: its data are generated; leave --raw out.")
    paths = given_paths(flags.raw)
    raw = paths[0] if len(paths) == 1 else paths
    with tempfile.TemporaryDirectory() as folder:
        found = check_raw(card, raw, Path(folder))
    lines = []
    for column, text in found.faults:
        held = [at for at in checked.places if at[0] == "raw" and at[-2:] == ("columns", column)]
        place = place_of(checked.places, held[0] if held else ("raw",))
        lines.append(f"{flags.card}:{place.line}:{place.column}: {text}")
    if not found.n_rows:
        return lines, "; rows of index:value are read by prepare alone"
    unit = "lines" if any(layout.newlines_in_values for layout in card.layouts) else "rows"
    share = "all" if found.rows == found.n_rows else f"{found.rows:,} of them, evenly spread,"
    return lines, f"; {found.n_rows:,} {unit}, {share} looked at"


def _said(card: DatasetCard | None) -> str:
    if card is None or not card.layouts:
        return "its data are generated"
    layout = card.layouts[0]
    return f"{len(layout.fields)} fields, label {layout.label.name!r} ({layout.label_rule.shown})"
