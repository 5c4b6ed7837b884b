"""A look at a table, written down: as a card with comments, and as a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.data.card.starter import toml_key, toml_text
from bench.data.card.toml_table import breaks_lines
from bench.data.look.flags import LEAK_AUC
from bench.data.look.kinds import Guess
from bench.data.look.look import ROWS_PER_ID, Look
from bench.data.prepare.ingest import passed_by

_DAYS_TO_CUT = 3
_WIDTH = 46
"""Letters before the comment of a column."""
_LISTED = 12
"""Columns that one line of the summary names."""


def card_text(look: Look, name: str) -> str:
    """The card of a table that was looked at, under the name ``name``."""
    lines = [
        *_head(look, name),
        *_raw(look),
        "",
        "[raw.columns]",
        *_columns(look),
        "",
        "[split]",
        "train = 0.8",
        "valid = 0.1",
        "test = 0.1",
        *_time(look),
    ]
    return "\n".join(lines) + "\n"


def rows_text(look: Look) -> str:
    """How many rows there are, and how many of them were looked at."""
    sample = look.sample
    about = "" if sample.is_exact else "about "
    if sample.is_whole:
        return f"{sample.n_rows:,} rows, all looked at"
    return f"{about}{sample.n_rows:,} rows, of which {sample.rows:,}, evenly spread, were looked at"


def _head(look: Look, name: str) -> Iterator[str]:
    counts = (
        "All counts are exact." if look.sample.is_whole else "But for that number, counts and shares are estimates."
    )
    yield f"# A guess by `python -m bench data init` from {look.name}: {rows_text(look)}."
    yield f"# {counts} What each key means: bench/datasets/README.md."
    yield ""
    yield f"name = {toml_text(name)}"
    yield f"title = {toml_text(name)}"
    yield (
        f"min_count = {look.min_count}  # rows of train that a value needs for an id of its own; the smallest of "
        f"1, 2, 5, … that leaves each field {ROWS_PER_ID} rows an id"
    )
    yield ""


def _raw(look: Look) -> Iterator[str]:
    layout = look.sample.layout
    yield "[raw]"
    yield f"files = [{', '.join(map(toml_text, look.files))}]"
    if look.join:
        yield "join = true  # all files are parts of one table"
    if not look.sample.is_parquet:
        yield f"delimiter = {toml_text(layout.delimiter)}"
        yield f"header = {'true' if layout.header else 'false  # names below are ours, in the order of the file'}"
        if layout.quote != '"':
            yield f"quote = {toml_text(layout.quote)}  # quotes are letters"
        if layout.escape:
            yield f"escape = {toml_text(layout.escape)}"
        if layout.newlines_in_values:
            yield "newlines_in_values = true  # a quote that is never closed looks the same: see the notes of prepare"
        if layout.encoding != "utf-8":
            guessed = (
                "  # a guess: it is no utf-8; look at letters beyond a to z" if "utf" not in layout.encoding else ""
            )
            yield f"encoding = {toml_text(layout.encoding)}{guessed}"
        if layout.trim:
            yield "trim = true  # values have blanks around them"
    if look.decimal != ".":
        yield f"decimal = {toml_text(look.decimal)}"
    seen = "  # those that were seen; a missing value is a value of its own" if len(look.missing) > 1 else ""
    yield f"missing = [{', '.join(map(toml_text, look.missing))}]{seen}"
    label = look.label
    if label.key:
        lists = isinstance(label.value, tuple)
        value = f"[{', '.join(map(toml_text, label.value))}]" if lists else toml_text(str(label.value))
        yield f"{label.key} = {value}  # {_one_line(label.why)}"


def _columns(look: Look) -> Iterator[str]:
    unreadable = dict(look.sample.unreadable)
    guesses = {one.name: one for one in look.guesses}
    taken = set(guesses)
    for column in look.sample.layout.columns:
        if column.name in unreadable:
            yield _line(column.name, '"ignore"', f"ignored: nothing can be made of the type {unreadable[column.name]}")
            continue
        one = guesses[column.name]
        yield _line(column.name, _value(one, taken), _comment(one, look))


def _line(name: str, value: str, comment: str) -> str:
    return f"{f'{toml_key(name)} = {value}':<{_WIDTH}}  # {_one_line(comment)}"


def _one_line(text: str) -> str:
    return "".join("?" if breaks_lines(letter) else letter for letter in text)


def _value(one: Guess, taken: set[str]) -> str:
    """What stands behind the name of a column; ``taken`` holds names of fields and takes in new ones."""
    keys = []
    if one.kind == "time":
        keys.append(f"format = {toml_text(one.time_format)}")
        if one.parts:
            parts = [(_free(f"{one.name}_{part}", taken), part) for part in one.parts]
            keys.append(
                f"parts = {{ {', '.join(f'{toml_key(_plain(key))} = {toml_text(part)}' for key, part in parts)} }}"
            )
    if one.multi:
        keys += [f"separator = {toml_text(one.separator)}"] if one.separator else []
        keys.append('multi = "combination"')
    if one.makes_field and one.kind != "time" and breaks_lines(one.name):
        keys.append(f"field = {toml_text(_free(_plain(one.name), taken))}")
    return f"{{ {', '.join([f'kind = {toml_text(one.kind)}', *keys])} }}" if keys else toml_text(one.kind)


def _plain(name: str) -> str:
    return "".join("_" if breaks_lines(letter) else letter for letter in name)


def _free(name: str, taken: set[str]) -> str:
    """``name``, with underscores behind it until no field is called so."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _comment(one: Guess, look: Look) -> str:
    if one.kind == "label":
        return f"{look.positive:.1%} count as 1"
    values = f"{one.present.distinct:,} value{'s' * (one.present.distinct != 1)}"
    parts = [f"ignored: {one.why}" if one.kind == "ignore" else values]
    parts += [f"{one.present.missing:.1%} missing"] if one.present.missing > 0 else []
    parts += [
        'lists, each a set; multi = "mean" pools their values, multi = "first", positions = 3 makes three fields'
    ] * one.multi
    return "; ".join([*parts, *one.notes, *_flagged(one.name, look)])


def _flagged(name: str, look: Look) -> Iterator[str]:
    flags = look.flags
    for column, auc in flags.leaks:
        if column == name:
            yield f"LEAK? alone it says the label (AUC {auc:.3f}): ignore it if it is known only after the click"
    for group in flags.twins:
        if name in group:
            others = ", ".join(other for other in group if other != name)
            yield f"TWIN: equal to {others} up to renaming"
    near = [(second if name == first else first, v) for first, second, v in flags.near if name in (first, second)]
    if near:
        listed = ", ".join(f"{other} ({v:.3f})" for other, v in near[:3])
        yield f"NEAR: almost equal to {listed}, by Cramér's V" + (f" and {len(near) - 3} more" if len(near) > 3 else "")


def _time(look: Look) -> Iterator[str]:
    if look.time is None or look.time.seconds is None:
        return
    days = len(set((look.time.seconds // 86_400).tolist()))
    yield from ("", "[time]  # only for --split temporal", f"column = {toml_text(look.time.name)}")
    if days >= _DAYS_TO_CUT:
        yield 'cut = "day"'


def summary(look: Look) -> Iterator[str]:
    """What was found, line by line."""
    kinds = [one.kind for one in look.guesses]
    names = ("categorical", "integer", "numeric", "time", "ignore")
    found = ", ".join(f"{kinds.count(kind)} {kind}" for kind in names if kind in kinds)
    label = f"the label {look.label.name!r} ({look.positive:.1%} count as 1)"
    yield f"{rows_text(look)}; {len(kinds)} columns: {label}, {found}"
    unused = [one for one in look.guesses if one.kind == "ignore"]
    ignored = [f"{one.name or repr('')} ({one.why.partition(':')[0]})" for one in unused]
    ignored += [f"{name} (type {kind})" for name, kind in look.sample.unreadable]
    if ignored:
        yield f"ignored: {_listed(ignored)}"
    if look.passed_by:
        yield passed_by(look.passed_by).rstrip(".")
    flags = look.flags
    if flags.leaks:
        leaks = [f"{name} ({auc:.3f})" for name, auc in flags.leaks]
        yield f"LEAK? alone these say the label (AUC above {LEAK_AUC}): {_listed(leaks)}"
    if flags.twins:
        yield f"TWIN: equal up to renaming: {_listed([' = '.join(group) for group in flags.twins])}"
    if flags.near:
        yield f"NEAR: almost equal (Cramér's V): {_listed([f'{a} ~ {b} ({v:.3f})' for a, b, v in flags.near])}"
    noted = [one.name for one in look.guesses if one.notes and one.kind != "label"]
    if noted:
        yield f"see the comments at: {_listed(noted)}"


def _listed(names: Sequence[str]) -> str:
    more = f", … and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(_one_line, names[:_LISTED])) + more
