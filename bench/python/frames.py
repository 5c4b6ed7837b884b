"""Frames of pandas, polars, pyarrow and whatever else narwhals knows, brought to one form and back."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from bench.errors import DataError, quoted

__all__ = ["Frame", "as_frame", "is_name", "names_of", "to_arrow"]

Frame = nw.DataFrame[Any]


def is_name(kind: object) -> bool:
    """Whether values of a narwhals type are names, and no amounts whatever they look like."""
    return str(kind).startswith(("String", "Categorical", "Enum", "Boolean"))


def as_frame(source: object) -> Frame | None:
    """``source`` as narwhals sees it, a lazy frame collected; None where it is no frame.

    Raises:
        DataError: it is a frame whose columns cannot be told apart.
    """
    try:
        found: Any = nw.from_native(source, pass_through=True)
    except (ValueError, TypeError) as error:  # as of two columns of one name
        raise DataError(f"the frame cannot be read: {' '.join(str(error).split())}") from None
    if isinstance(found, nw.LazyFrame):
        found = found.collect()
    return found if isinstance(found, nw.DataFrame) else None


def names_of(frame: Frame) -> list[str]:
    """The names of the columns as text.

    Raises:
        DataError: two have one name.
    """
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"the frame has two columns {quoted(twice)}; rename one of them.")
    return names


def to_arrow(frame: Frame) -> pa.Table:
    """The frame as an Arrow table, categories as their values; an index is left out, as of every frame.

    Raises:
        DataError: no rows, two columns of one name, or a column whose values Arrow cannot hold.
    """
    names = names_of(frame)
    if not len(frame) or not names:
        raise DataError(f"the frame has {len(frame)} rows and {len(names)} columns; there is nothing to learn from.")
    return pa.table({name: _column(frame, name, own) for name, own in zip(names, frame.columns, strict=True)})


def _column(frame: Frame, name: str, own: str) -> pa.ChunkedArray:
    try:
        values = frame.get_column(own).to_arrow()
    except (pa.ArrowException, TypeError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise DataError(
            f"column {quoted(name)} of the frame holds values of several types or of one that Arrow lacks ({why}); "
            f"convert it, as with .astype(str), or leave it out."
        ) from None
    found = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    return found.cast(pa.large_string()) if pa.types.is_string_view(found.type) else found
