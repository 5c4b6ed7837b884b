"""Arrays that are read where they lie: any rows of them, in few reads, and errors where the file is not whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data.store import array as arrays
from bench.data.store.array import StoredArray
from bench.data.store.manifest import write_array
from bench.errors import DataError

N, COLUMNS = 1000, 3
CHOSEN = {
    "all": np.arange(N),
    "none": np.arange(0),
    "the last": np.array([N - 1]),
    "far apart": np.array([0, 499, 999]),
    "repeated": np.array([4, 4, 5, 800, 800]),
    "every third": np.arange(0, N, 3, dtype=np.int32),
    "by lot": np.flatnonzero(np.random.default_rng(0).random(N) < 0.4),
}


@pytest.fixture(params=[np.int32, np.float64])
def stored(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[StoredArray, np.ndarray]:
    values = np.arange(N * COLUMNS).reshape(N, COLUMNS).astype(request.param)
    write_array(tmp_path / "a.npy", values)
    return StoredArray(tmp_path / "a.npy"), values


@pytest.mark.parametrize("rows", CHOSEN.values(), ids=CHOSEN)
@pytest.mark.parametrize(("buffer", "gap"), [(1, 1), (100, 20), (1 << 20, 1 << 20)])
def test_rows_are_those_of_the_array(
    stored: tuple[StoredArray, np.ndarray], rows: np.ndarray, buffer: int, gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, values = stored
    monkeypatch.setattr(arrays, "BUFFER_BYTES", buffer)
    monkeypatch.setattr(arrays, "_GAP_BYTES", gap)
    assert (array.columns, array.row_bytes) == (COLUMNS, COLUMNS * values.itemsize)
    np.testing.assert_array_equal(array.take(rows), values[rows])
    assert array.take(rows).dtype == values.dtype


def test_neighbours_are_read_at_once_and_gaps_are_left_out(
    stored: tuple[StoredArray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    array, _ = stored
    monkeypatch.setattr(arrays, "BUFFER_BYTES", 10 * array.row_bytes)
    monkeypatch.setattr(arrays, "_GAP_BYTES", 4 * array.row_bytes)
    rows = np.array([0, 1, 5, 9, 10, 20, 21, 26])  # 0 to 9 fit in ten rows; 21 and 26 are more than four apart
    read: list[tuple[int, int]] = []
    monkeypatch.setattr(array, "_read", lambda file, first, run: read.append((first, len(run))))
    array.take(rows)
    assert read == [(0, 10), (10, 1), (20, 2), (26, 1)]


def test_a_file_that_was_cut_short_is_named_with_the_row(stored: tuple[StoredArray, np.ndarray]) -> None:
    array, values = stored
    with array.path.open("r+b") as file:
        file.truncate(array.path.stat().st_size - 10 * array.row_bytes)
    np.testing.assert_array_equal(array.take(np.arange(N - 10)), values[: N - 10])
    with pytest.raises(DataError, match=r"a\.npy: is cut short: row 99[16] is not there"):
        array.take(np.array([3, N - 5]))
    with pytest.raises(DataError, match="cut short"):
        StoredArray(array.path)
