"""Frames with one column of any kind and type, and the stores of their CSV and Parquet files, both by pandas."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.errors import DataError

N = 120
KINDS = {
    "categorical": '"categorical"',
    "integer": '"integer"',
    "numeric": '"numeric"',
    "unix": '{ kind = "time", format = "unix", parts = { a = "hour", b = "weekday", c = "year" } }',
    "digits": '{ kind = "time", format = "YYMMDDHH", parts = { a = "hour", b = "day" } }',
    "iso": '{ kind = "time", format = "iso", parts = { a = "hour", b = "day", c = "year" } }',
    "ignore": '"ignore"',
}
MISSING = '["", "NULL", "-999", "-999.0"]'


def card_for(folder, kind, missing=MISSING, raw=""):
    text = f"""
name = "mine"
[raw]
missing = {missing}
{raw}
[raw.columns]
y = "label"
v = {KINDS[kind]}
other = "categorical"
"""
    return write_card(folder, text)


def frame_with(values):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.integers(0, 2, len(values)), "v": values})
    return frame.assign(other=rng.choice(["a", "b"], len(values)))


def stores(folder, frame, card, chunk_bytes=700):
    """The manifests of the frame as CSV and as Parquet."""
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_parquet(folder / "t.parquet", index=False, row_group_size=50)
    work = Settings(chunk_bytes=chunk_bytes, threads=2)
    text = _outcome(lambda: prepare(card, folder / "t.csv", folder / "text"))
    return text, _outcome(lambda: prepare(card, folder / "t.parquet", folder / "table", settings=work))


def _outcome(make):
    """The manifest; or what is wrong with the table, without the place: then there is no store, in either way."""
    try:
        return manifest_of(make())
    except DataError as error:
        fault = re.sub(r".*?column 'v'", "", str(error), count=1)
        return {"files": fault, "scaling": fault}
