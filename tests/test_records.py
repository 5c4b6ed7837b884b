from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import ConfigError, DataError
from bench.identity import canonical_json, config_hash
from bench.records import CellRecord, RunFolder, load_frame, to_frame


def record(**changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "dataset": "d",
        "backbone": "b",
        "method": "m",
        "label": "m[a=1]",
        "seed": 0,
        "status": "ok",
        "config_hash": config_hash({"seed": changes.get("seed", 0)}),
    }
    return CellRecord(**{**values, **changes})


FULL = {
    "split_rows": {"train": 7, "valid": 2, "test": 1},
    "params": {"a": 1, "deep": {"b": [1, 2]}},
    "tau": 0.5,
    "auc": 0.75,
    "epochs": 2.5,
    "kept_fields": [0, 2],
    "field_scores": [0.5, None, -1.25],
    "field_names": ["x", "y", "z"],
    "resumed": True,
    "method_order": 3,
}


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    written = record(**FULL)
    run = RunFolder(tmp_path)
    file = run.write(written)
    assert file == tmp_path / "cells" / f"{written.config_hash[:16]}.json"
    assert run.read(written.config_hash) == written
    assert run.records() == [written]


def test_every_key_of_the_protocol_is_written() -> None:
    protocol = """dataset dataset_revision split_rows backbone method label params profile budget tau seed status reason
    traceback auc logloss pt_s ct_s tt_s it_s it_rows surgery_s warmup_s compile_s io_s ct_best_s ct_epoch_s
    it_row_p50_s it_row_p99_s epochs best_epoch kept_fields field_scores tie_count n_rows_used network_params
    embedding_rows embedding_params embedding_bytes flops_per_row peak_mem_bytes optimizer resumed notes config_hash
    git host device threads versions command"""
    assert set(protocol.split()) <= set(record().to_dict())


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    scores = np.array([1.0, np.nan, np.inf])
    file = run.write(
        record(auc=math.nan, field_scores=scores, notes={"x": [-math.inf, np.float32(0.5)], "n": np.int64(3)})
    )
    text = file.read_text()
    assert not re.search(r"NaN|Infinity", text)
    values = json.loads(text)
    assert values["auc"] is None
    assert values["field_scores"] == [1.0, None, None]
    assert values["notes"] == {"x": [None, 0.5], "n": 3}


def test_a_kill_between_writing_and_renaming_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    run.write(record(auc=0.5))

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    # the process dies: neither the rename nor the clean-up after it takes place
    monkeypatch.setattr(Path, "replace", die)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(Killed):
        run.write(record(auc=0.9))
    monkeypatch.undo()
    assert len(list((tmp_path / "cells").iterdir())) == 2, "the half-written file is still there"
    assert [r.auc for r in run.records()] == [0.5]
    run.write(record(auc=0.9))
    assert [r.auc for r in run.records()] == [0.9]


def test_unknown_key_is_refused_with_file_and_suggestion(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    file = run.write(record())
    file.write_text(json.dumps({**record().to_dict(), "logloss_": 1.0}))
    with pytest.raises(DataError, match=rf"{re.escape(str(file))}.*'logloss_'.*'logloss'"):
        run.records()


def test_missing_keys_are_null(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    file = run.write(record())
    needed = ("dataset", "backbone", "method", "label", "seed", "status", "config_hash")
    file.write_text(json.dumps({key: value for key, value in record().to_dict().items() if key in needed}))
    assert run.records() == [record()]


@pytest.mark.parametrize("key", ["dataset", "seed", "status", "config_hash"])
def test_identity_keys_must_be_there(key: str) -> None:
    values = record().to_dict()
    del values[key]
    with pytest.raises(DataError, match=f"no {key}"):
        CellRecord.from_dict(values)


@pytest.mark.parametrize(
    ("key", "value"),
    [("auc", "0.8"), ("seed", True), ("seed", 1.5), ("status", "fine"), ("params", []), ("resumed", 1)],
)
def test_wrong_types_are_refused(key: str, value: object) -> None:
    with pytest.raises(DataError, match=re.escape(f"{key}={value!r}")):
        CellRecord.from_dict({**record().to_dict(), key: value}, source="x.json")


@pytest.mark.parametrize("text", ["", '{"dataset": "d"', "[]", "\xff"])
def test_corrupt_file_names_itself_and_the_mend(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path)
    file = run.write(record())
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"{re.escape(str(file))}.*Delete the file"):
        load_frame(tmp_path)


def test_a_copied_record_does_not_count_twice(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    file = run.write(record())
    file.with_name("copy.json").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="renamed or copied"):
        run.records()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent is no run folder: it does not exist.*--out"):
        load_frame(tmp_path / "absent")
    with pytest.raises(ConfigError, match="no run folder: it has no cells"):
        load_frame(tmp_path)
    (tmp_path / "run.toml").touch()
    with pytest.raises(ConfigError, match="no finished cell yet"):
        load_frame(tmp_path)
    assert RunFolder(tmp_path).read("0" * 64) is None


def test_hash_depends_on_values_only() -> None:
    first = {"a": 1, "tau": 0.0, "nested": {"x": [1, 2.5], "y": None}}
    second = {"nested": {"y": None, "x": (1.0, 2.5)}, "tau": 0, "a": 1.0}
    assert canonical_json(first) == '{"a":1,"nested":{"x":[1,2.5],"y":null},"tau":0}'
    assert config_hash(first) == config_hash(second)
    assert config_hash({"a": 12, "b": 21}) != config_hash({"a": 21, "b": 12})
    assert config_hash({"a": True}) != config_hash({"a": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, Path("x"), {1: 2}])
def test_configuration_without_an_identity_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"a\.b"):
        config_hash({"a": {"b": value}})


def test_frame_has_fixed_dtypes_and_order(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write(record(seed=1, tau=None, method_order=2, auc=0.5))
    run.write(record(seed=0, **FULL))
    frame = load_frame(tmp_path)
    assert list(frame["seed"]) == [1, 0], "by method order before seed"
    assert frame["auc"].dtype == frame["tau"].dtype == frame["epochs"].dtype == np.float64
    assert math.isnan(frame["tau"][0])
    assert frame["method_order"].dtype == pd.Int64Dtype()
    assert frame["resumed"].dtype == pd.BooleanDtype()
    assert isinstance(frame["label"].dtype, pd.StringDtype)
    assert frame["kept_fields"][1] == [0, 2]
    assert frame["kept_fields"][0] is None
    assert dict(to_frame([]).dtypes) == dict(frame.dtypes), "the same for a run without cells"
    assert list(frame.columns) == list(record().to_dict())
