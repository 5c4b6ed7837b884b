from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.errors import DataError
from bench.predictions import Predictions

CELL = "0123456789abcdef" * 4
LOGITS = np.array([0.5, -1.25, 3.0])
LABELS = np.array([1.0, 0.0, 1.0])


@pytest.fixture
def kept(tmp_path: Path) -> Predictions:
    return Predictions(tmp_path / "predictions")


def names(kept: Predictions) -> list[str]:
    return sorted(file.name for file in kept.folder.iterdir())


def test_what_is_kept_comes_back_with_its_labels(kept: Predictions) -> None:
    entry = kept.stage(CELL, "clicks", LOGITS, LABELS)
    assert not kept.has(CELL, entry), "before its record is written"
    assert kept.settle(CELL, entry)
    assert kept.has(CELL, entry)
    assert (kept.logits(CELL, entry).dtype, kept.labels(entry).dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(kept.logits(CELL, entry), LOGITS)
    np.testing.assert_array_equal(kept.labels(entry), LABELS)
    assert names(kept) == ["0123456789abcdef.npy", entry["labels"]]


def test_cells_on_the_same_rows_share_their_labels(kept: Predictions) -> None:
    entries = [kept.stage(cell * 64, "clicks", LOGITS + i, LABELS) for i, cell in enumerate("ab")]
    assert entries[0]["labels"] == entries[1]["labels"]
    other = kept.stage("c" * 64, "clicks", LOGITS, 1 - LABELS)
    assert other["labels"] != entries[0]["labels"], "of other rows"


def test_the_process_that_writes_the_record_decides_what_stays(kept: Predictions) -> None:
    loser = kept.stage(CELL, "clicks", LOGITS, LABELS)
    winner = kept.stage(CELL, "clicks", LOGITS + 1, LABELS)
    assert kept.settle(CELL, winner)
    np.testing.assert_array_equal(kept.logits(CELL, winner), LOGITS + 1)
    assert names(kept) == ["0123456789abcdef.npy", winner["labels"]]
    assert not kept.settle(CELL, loser), "what is not there cannot be kept"


def test_a_cell_without_predictions_leaves_none_of_before(kept: Predictions) -> None:
    kept.settle(CELL, kept.stage(CELL, "clicks", LOGITS, LABELS))
    entry = kept.stage(CELL, "clicks", LOGITS + 1, LABELS)
    assert kept.settle(CELL, None)
    assert names(kept) == [entry["labels"]]
    assert not kept.has(CELL, None)


@pytest.mark.parametrize("name", ["../../up/and[away]", "clicks.toml", "…", "a" * 300, "con fusion:*?"])
def test_any_name_of_a_data_set_makes_a_name_of_a_file(kept: Predictions, name: str) -> None:
    entry = kept.stage(CELL, name, LOGITS, LABELS)
    kept.settle(CELL, entry)
    assert kept.labels(entry).tolist() == [1, 0, 1]
    assert (kept.folder / entry["labels"]).is_file() and len(entry["labels"]) < 80


def test_a_changed_file_is_named_with_its_mend(kept: Predictions) -> None:
    entry = kept.stage(CELL, "clicks", LOGITS, LABELS)
    kept.settle(CELL, entry)
    np.save(kept.file(CELL), np.zeros(3, np.float32))
    with pytest.raises(DataError, match=r"0123456789abcdef\.npy was changed or damaged.*Delete it.*--rerun always"):
        kept.logits(CELL, entry)
    kept.file(CELL).unlink()
    with pytest.raises(DataError, match=r"0123456789abcdef\.npy cannot be read"):
        kept.logits(CELL, entry)
    np.save(kept.folder / entry["labels"], np.zeros(3, np.uint8))
    with pytest.raises(DataError, match=r"labels\.npy was changed or damaged"):
        kept.labels(entry)
    kept.settle(CELL, kept.stage(CELL, "clicks", LOGITS, LABELS))
    with pytest.raises(DataError, match=r"holds float32 \(3,\) where float32 \(4,\) is expected"):
        kept.logits(CELL, entry | {"rows": 4})


def test_a_record_cannot_lead_out_of_the_folder(kept: Predictions, tmp_path: Path) -> None:
    entry = kept.stage(CELL, "clicks", LOGITS, LABELS)
    (tmp_path / "x.labels.npy").write_bytes((kept.folder / entry["labels"]).read_bytes())
    with pytest.raises(DataError, match="no name of such a file"):
        kept.labels(entry | {"labels": "../x.labels.npy"})
