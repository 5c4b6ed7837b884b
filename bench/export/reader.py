"""Score raw rows with an exported click model. It needs numpy and onnxruntime alone: take it along with its folder.

    model = Model("model/")
    model.score([{"site": "a", "price": "3.5"}, {"site": None, "price": 2}])  # probabilities, float32 [rows]
    model.score_csv(open("rows.csv", newline="", encoding="utf-8"))  # rows as the training table had them

Missing values, and those that training did not see, are scored as it treated them; other columns are not looked at. A
row without a field's column, or with a value that the column cannot hold, is a ValueError.
"""

from __future__ import annotations

import bisect
import csv
import datetime
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FORMAT = 1
UNSEEN, MISSING = 0, 1
MOST_KNOWN = 1 << 20
EPOCH = datetime.datetime(1970, 1, 1)
WHOLE = re.compile(r"(-?[0-9]+)(\.0+)?")
ISO = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.ASCII,
)
PARTS: dict[str, Callable[[datetime.datetime], int]] = {
    "hour": lambda moment: moment.hour,
    "weekday": lambda moment: moment.weekday(),
    "weekend": lambda moment: int(moment.weekday() >= 5),
    "day": lambda moment: moment.day,
    "month": lambda moment: moment.month,
    "year": lambda moment: moment.year,
}


class Field:
    """From the values of a column to an input of the network; ``entry`` and ``table`` are of the manifest."""

    def __init__(self, entry: dict[str, Any], table: dict[str, Any], vocabulary: dict[str, int]) -> None:
        self.column, self.input, self.kind = entry["column"], entry["input"], entry["kind"]
        self.entry, self._table, self._vocabulary = entry, table, vocabulary
        self._read: Callable[[Any], Any] = getattr(self, f"_{self.kind}")
        self._known: dict[str, float] = {}

    def encode(self, values: Iterable[Any]) -> np.ndarray:
        """Ids, int64 [n]; of a column of numbers these themselves, standardised, NaN where missing, float32 [n]."""
        return np.array([self._code(value) for value in values], np.float32 if self.kind == "number" else np.int64)

    def _code(self, value: Any) -> float:
        if isinstance(value, str) and value in self._known:
            return self._known[value]
        try:
            found = self._read(value)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"column {self.column!r}: {value!r} cannot be read as a {self.kind}: {error}") from None
        if self.kind != "number":
            code: float = MISSING if found is None else self._vocabulary.get(found, UNSEEN)
        else:
            code = math.nan if found is None else (found - self.entry["mean"]) / self.entry["sd"]
            if abs(code) > self._table["limit"]:
                raise ValueError(f"column {self.column!r}: {value!r} is too far from those of training to be scored")
        if isinstance(value, str) and len(self._known) < MOST_KNOWN:
            self._known[value] = code
        return code

    def _text(self, value: Any) -> str | None:
        if value is None or value != value:  # noqa: PLR0124 - NaN, of whatever library
            return None
        text = str(value).strip() if self._table["trim"] else str(value)
        return None if text in self._table["missing"] else text

    def _digits(self, value: Any) -> str | None:
        """The text of a number, with a decimal point."""
        text = self._text(int(value) if isinstance(value, bool) else value)
        if text is None or not isinstance(value, str):
            return text
        text = text.strip(" \t")
        if "_" in text or (self._table["decimal"] == "," and "." in text):
            raise ValueError("no such number")
        return text.replace(self._table["decimal"], ".")

    def _number(self, value: Any) -> float | None:
        text = self._digits(value)
        number = math.nan if text is None else float(text)
        if math.isinf(number):
            raise ValueError("not finite")
        return None if math.isnan(number) or number in self._table["missing_numbers"] else number

    def _whole(self, value: Any) -> int | None:
        text = self._digits(value)
        found = None if text is None else WHOLE.fullmatch(text)
        if found is None and text is not None:
            raise ValueError("no whole number")
        number = None if found is None else int(found[1])
        return None if number in self._table["missing_numbers"] else number

    def _count(self, value: Any) -> str | None:
        number, bounds = self._whole(value), self._table["buckets"]
        if number is None or number <= 2:
            return None if number is None else str(number)
        place = bisect.bisect_right(bounds, number)
        return str(place) if self._table["merged_buckets"] else f"{bounds[place - 1]}..{bounds[place] - 1}"

    def _time(self, value: Any) -> str | None:
        moment = self._iso(value) if self.entry["format"] == "iso" else self._counted(value)
        return None if moment is None else str(PARTS[self.entry["part"]](moment))

    def _counted(self, value: Any) -> datetime.datetime | None:
        number = self._whole(value)
        if number is None:
            return None
        if not (-4102444800 <= number < 4102444800 if self.entry["format"] == "unix" else 0 <= number < 10**8):
            raise ValueError(f"not of the form {self.entry['format']}")
        if self.entry["format"] == "unix":
            return EPOCH + datetime.timedelta(seconds=number)
        return datetime.datetime(2000 + number // 10**6, number // 10**4 % 100, number // 100 % 100, number % 100)

    def _iso(self, value: Any) -> datetime.datetime | None:
        text = self._text(value)
        found = None if text is None else ISO.fullmatch(text)
        if found is None and text is not None:
            raise ValueError("not ISO 8601")
        if found is None:
            return None
        year, _, month, day, hour, minute, second, sign, hours, minutes = (part or "0" for part in found.groups())
        ahead = datetime.timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        return datetime.datetime(int(year), int(month), int(day), int(hour), int(minute), int(second)) - ahead

    def _listed(self, value: Any) -> list[str | None]:
        items = value
        if not isinstance(value, list | tuple | np.ndarray):
            text = self._text(value)
            items = [] if text is None else text.split(self.entry["separator"])
        return [self._text(item) for item in items]

    def _position(self, value: Any) -> str | None:
        return next(itertools.islice(self._listed(value), self.entry["place"], None), None)

    def _combination(self, value: Any) -> str | None:
        joint = self.entry["separator"] or "|"
        texts = sorted({text for text in self._listed(value) if text is not None})
        return joint.join(one.replace("\\", "\\\\").replace(joint, f"\\{joint}") for one in texts) if texts else None


class Model:
    """An exported model."""

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        folder = Path(folder)
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if self.manifest.get("format") != FORMAT:
            raise ValueError(f"{folder}: format {self.manifest.get('format')}, and this reader knows {FORMAT}")
        for name, digest in self.manifest["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{folder / name} is not the file that was exported; export the model anew")
        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self.table = self.manifest["table"]
        fields = self.manifest["fields"]
        self.fields = [Field(entry, self.table, vocabulary.get(entry["name"], {})) for entry in fields]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities, float32 [n], of encoded columns by the name of the input."""
        found: np.ndarray = self.session.run(["probability"], inputs)[0]
        return found

    def score(self, rows: Iterable[Mapping[str, Any]], batch: int = 1024) -> np.ndarray:
        """Probabilities, float32 [rows]; a row maps columns to texts, numbers, lists, or None where missing."""
        left, parts = iter(rows), [np.empty(0, np.float32)]
        while part := list(itertools.islice(left, batch)):
            for field in self.fields:
                if any(field.column not in row for row in part):
                    raise ValueError(f"a row has no column {field.column!r}; None stands for a missing value")
            parts.append(self.run({one.input: one.encode([row[one.column] for row in part]) for one in self.fields}))
        return np.concatenate(parts)

    def score_csv(self, lines: Iterable[str]) -> np.ndarray:
        """Probabilities, float32 [rows], of text in the form of the training table; the label may be absent."""
        return self.score(self._rows(lines))

    def _rows(self, lines: Iterable[str]) -> Iterator[dict[str, str]]:
        table = self.table
        if table["format"] != "table":
            raise ValueError(f"rows of the format {table['format']} are no CSV; give score() mappings")
        comma = table["delimiter"] if len(table["delimiter"]) == 1 else "\x1f"
        texts = (line.replace(table["delimiter"], comma) for line in lines)
        quote, escape = table["quote"] or None, table["escape"] or None
        rows = csv.reader(
            texts,
            delimiter=comma,
            quotechar=quote,
            escapechar=escape,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            strict=True,
        )
        names = [name.strip() if table["trim"] else name for name in next(rows, [])] if table["header"] else None
        for row in rows:
            if names is None:  # without a header only the label can be told to be absent
                with_label = len(row) == len(table["columns"])
                names = [name for name in table["columns"] if with_label or name != table["label"]]
            if len(row) != len(names):
                raise ValueError(f"line {rows.line_num} has {len(row)} values, and there are {len(names)} columns")
            yield dict(zip(names, row, strict=True))
