"""``python -m bench speed`` from flags to table and file; stages run in this process, to save their start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from bench.errors import ConfigError
from bench.plugins import backbones
from bench.speed import fuxictr, run, stages
from bench.speed.data import MIN_COUNT, RawTable
from bench.speed.rate import ChildDiedError, Rate
from bench.speed.settings import SpeedConfig

SMALL = [
    "--rows", "400", "--vocabulary", "900", "--fields", "5", "--dim", "3", "--batch", "50", "--mlp", "6", "4",
    "--predictions", "300", "--repeats", "1", "--window-s", "0.000001", "--threads", "1",
]  # fmt: skip


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "in_child", lambda work, *arguments: work(*arguments))


@pytest.mark.usefixtures("in_this_process")
def test_table_and_file_hold_every_stage(bench: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    done = bench("speed", *SMALL, "--backbones", "deepfm", "logistic", "--json", str(file))
    assert done.code == 0, done.err
    report = json.loads(file.read_text())
    found = [(rate["stage"], rate["what"]) for rate in report["rates"]]
    assert found[:3] == [("prepare", "raw table"), ("train", "deepfm"), ("train", "logistic")]
    assert [what for stage, what in found if stage == "gated train"] == [
        "deepfm, field [F] gate", "deepfm, sample [B, F] gate", "deepfm, value [V] gate",
    ]  # fmt: skip
    assert [what for stage, what in found if stage == "overhead"] == ["deepfm"]
    assert [what for stage, what in found if stage == "evaluate"] == ["deepfm", "logistic"]
    assert ("select", "xgboost") in found
    assert report["config"]["vocabulary"] == 900
    assert report["limits"]["gemm_flops_per_s"] > 0
    assert str(tmp_path) not in report["command"]
    for word in ("rows/s", "of bound", "limits: matrix products", "V 900", "300 predictions"):
        assert word in done.out
    assert done.err.count("\n") == len(found)  # one line as each comes in


@pytest.mark.usefixtures("in_this_process")
def test_only_the_wanted_stages_run(bench: Callable[..., Any]) -> None:
    done = bench("speed", *SMALL, "--stages", "metrics")
    assert done.code == 0
    assert "limits" not in done.out
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--backbones", "dnm"], "dnm"),
        (["--rows", "7"], "rows=7"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--against", "nobody"], "against='nobody' is unknown; known: fuxictr"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_measured(
    bench: Callable[..., Any], flags: list[str], text: str
) -> None:
    done = bench("speed", *flags)
    assert done.code == 2
    assert text in done.err
    assert done.out == ""


def test_an_absent_peer_is_named_with_its_mend(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuxictr, "PACKAGE", "a_package_that_nobody_has")
    done = bench("speed", *SMALL, "--against", "fuxictr")
    assert done.code == 2
    assert "pip install a_package_that_nobody_has" in done.err


class _Peer:
    PACKAGE = "peer"

    def __init__(self, death: Exception | None) -> None:
        self.death = death

    def model_name(self, backbone: str) -> str | None:
        return None if backbone == "logistic" else backbone

    def measure(self, config: Any, backbone: str) -> dict[str, Any]:
        if self.death is not None:
            raise self.death
        return {"peer_rows_per_s": 2.0, "peer_step_rows_per_s": 4.0, "peer_peak_bytes": 7}

    def prepare(self, config: Any, raw: RawTable) -> dict[str, Any]:
        if self.death is not None:
            raise self.death
        with raw.text.open() as file:
            return {"peer_rows_per_s": float(len(file.readlines()) - 1), "peer_peak_bytes": 7}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("death", "note"),
    [
        (None, ""),
        (ChildDiedError("killed"), "peer: killed"),
        (TypeError("no\nsuch"), "peer: no"),
        (OSError(), "peer: OSError"),
    ],
    ids=repr,
)
def test_a_peer_is_measured_beside_each_model_that_it_has(
    monkeypatch: pytest.MonkeyPatch, death: Exception | None, note: str
) -> None:
    monkeypatch.setattr(stages, "train", lambda *arguments: Rate("train", arguments[1], rows_per_s=8.0))
    made = run.Measurements(SpeedConfig(), None, lambda rate: None)
    measured, without = made.train("dnn", _Peer(death)), made.train("logistic", _Peer(death))
    assert without.note == "peer has no such model"
    assert without.peer_rows_per_s is None
    assert measured.note == note
    if death is None:
        assert (measured.ratio(measured.peer_rows_per_s), measured.ratio(measured.peer_step_rows_per_s)) == (4.0, 2.0)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("death", "note"),
    [
        (None, ""),
        (ChildDiedError("killed"), "peer: killed"),
        (TypeError("no\nsuch"), "peer: no"),
        (OSError(), "peer: OSError"),
    ],
    ids=repr,
)
def test_a_peer_prepares_the_very_table_that_we_prepare(
    monkeypatch: pytest.MonkeyPatch, death: Exception | None, note: str
) -> None:
    def ours(config: SpeedConfig, raw: RawTable) -> Rate:
        return Rate("prepare", raw.text.name, rows_per_s=10.0 * len(raw.text.read_text().splitlines()[1:]))

    monkeypatch.setattr(stages, "preparation", ours)
    made = run.Measurements(SpeedConfig(rows=30), None, lambda rate: None)
    rate = made.prepare(_Peer(death))
    assert rate.rows_per_s == 300.0
    assert (rate.ratio(rate.peer_rows_per_s), rate.note) == (10.0 if death is None else None, note)
    assert made.prepare(None).peer_rows_per_s is None


class _Encoder:
    """Stands for the peer's processor of raw columns."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.data_dir = str(Path(settings["data_root"]) / settings["dataset_id"])


def test_the_peer_is_told_the_columns_and_must_write_all_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = SpeedConfig(rows=30, repeats=2)
    raw = stages.raw_table(config, tmp_path)
    encoders: list[_Encoder] = []
    written = [30]

    def build_dataset(encoder: _Encoder, train_data: str, **options: Any) -> tuple[str, None, None]:
        assert options == {"data_format": "csv", "sep": "\t", "min_categr_count": MIN_COUNT}
        assert train_data == str(raw.text)
        Path(encoder.data_dir).mkdir()
        table = pa.table({"label": [0.0] * written[0]})
        pq.write_table(table, f"{encoder.data_dir}/train.parquet")
        encoders.append(encoder)
        return f"{encoder.data_dir}/train.parquet", None, None

    modules = {
        "fuxictr.preprocess.build_dataset": SimpleNamespace(build_dataset=build_dataset),
        "fuxictr.datasets.criteo": SimpleNamespace(CustomizedFeatureProcessor=_Encoder),
    }
    packages = dict.fromkeys(("fuxictr", "fuxictr.preprocess", "fuxictr.datasets"), ModuleType("package"))
    for name, module in (packages | modules).items():
        monkeypatch.setitem(sys.modules, name, module)
    found = fuxictr.prepare(config, raw)
    assert found["peer_rows_per_s"] > 0
    assert found["peer_peak_bytes"] > 0
    assert len(encoders) == 2
    assert not any(Path(encoder.data_dir).exists() for encoder in encoders)
    told = {column["dtype"]: column["name"] for column in encoders[0].settings["feature_cols"]}
    assert told == {
        "float": [name for name, kind in raw.kinds.items() if kind == "integer"],
        "str": [name for name, kind in raw.kinds.items() if kind == "categorical"],
    }
    written[0] = 29
    with pytest.raises(RuntimeError, match="29 of 30"):
        fuxictr.prepare(config, raw)


def test_gates_are_measured_on_the_fastest_network_and_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"logistic": 90.0, "dnn": 30.0, "pnn": 20.0, "xdeepfm": 10.0}

    def train(config: SpeedConfig, backbone: str, gate: str | None, limits: Any) -> Rate:
        rate = speeds[backbone] if gate is None else speeds[backbone] / 2
        return Rate("train", backbone, rows_per_s=rate, flops_per_row=0.0 if backbone == "logistic" else 1.0)

    monkeypatch.setattr(run, "in_child", lambda work, config, *given: None if work is stages.limits else (
        train(config, *given)
    ))  # fmt: skip
    monkeypatch.setattr(stages, "train", train)
    report = run.measure(SpeedConfig(), ["train", "gates"], list(speeds))
    gated = [rate for rate in report.rates if rate.note]
    assert [rate.what for rate in gated] == ["dnn"] * 3 + ["xdeepfm"] * 3
    assert {rate.note for rate in gated} == {"2.00× the time without the gate"}
    alone = run.measure(SpeedConfig(), ["train", "gates"], ["pnn"])
    assert len(alone.rates) == 1 + 3


def test_models_of_the_peer_are_found_by_title() -> None:
    assert fuxictr.model_name("wide-deep") == "WideDeep"
    assert fuxictr.model_name("xdeepfm[cin=16-16]") == "xDeepFM"
    assert {fuxictr.model_name(name) for name in backbones().names()} <= {*fuxictr.MODELS, None}


def test_a_process_out_of_memory_leaves_a_row_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(work: Any, *arguments: Any) -> None:
        raise ChildDiedError("the process was killed: out of memory?")

    monkeypatch.setattr(run, "in_child", die)
    made = run.Measurements(SpeedConfig(), None, lambda rate: None)
    assert made.add("evaluate", "dnn", stages.evaluation).note == "the process was killed: out of memory?"


def test_help_loads_no_torch() -> None:
    code = "import sys; from bench.cli import main\ntry: main(['speed', '--help'])\nexcept SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("False")
    assert "--against" in done.stdout


def test_the_peer_must_be_asked_for_by_a_known_name() -> None:
    with pytest.raises(ConfigError, match="known: fuxictr"):
        run.measure(SpeedConfig(), [], ["dnn"], against="nothing")
