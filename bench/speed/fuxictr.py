"""FuxiCTR as a peer: its preparation, layers, training step, loader and defaults, on the same rows, on the CPU.

Raw rows go to it as the text that we read too; encoded rows in its own form, one column a field, counted from 0, in
an .npz file. Its version 2.3.10 reads raw text with polars below 2 only.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyarrow import parquet as pq

from bench import plugins
from bench.data.schema import Schema
from bench.engine.fast.memory import peak_rss
from bench.errors import ConfigError
from bench.params import parse_spec
from bench.rows.rows import Rows
from bench.run.job import resolve_backbone
from bench.speed.data import LABEL, MIN_COUNT, RawTable, make_rows
from bench.speed.rate import TreePeak, summary
from bench.speed.settings import SpeedConfig
from bench.speed.stages import LEAST_STEPS, WARM_UP_STEPS, profile_of

PACKAGE = "fuxictr"
MODELS = ("LR", "FM", "DNN", "WideDeep", "DeepFM", "PNN", "xDeepFM", "DCNv2")
"""Its models, which are called by the titles of ours."""


def require() -> None:
    """Make sure that the package is there.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise ConfigError(f"against={PACKAGE} is not installed in this environment: pip install {PACKAGE}")


def model_name(backbone: str) -> str | None:
    """Its model for a backbone as named on the command line; None where it has none."""
    title = plugins.backbones().entry(parse_spec(backbone).name).title.replace("&", "")
    return title if title in MODELS else None


def measure(config: SpeedConfig, backbone: str) -> dict[str, Any]:
    """Rows per second with its loader and of its step alone, and the peak memory of the process."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    from bench.speed.fuxictr_models import make_model  # noqa: PLC0415 - imports the package

    loaders = importlib.import_module("fuxictr.pytorch.dataloaders")
    rows = make_rows(config, config.rows // config.batch * config.batch)
    name = model_name(backbone)
    assert name is not None
    features = feature_map(rows.schema, config.dim)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.npz"
        _write(rows, file)
        params = resolve_backbone(backbone, profile_of(config)).params
        model = make_model(config, name, params, features, folder)
        model.train()
        loader = loaders.RankDataLoader(
            features, stage="train", train_data=str(file), batch_size=config.batch, shuffle=True, data_format="npz"
        )[0]
        with_loader = _rates(config, _endless(lambda: iter(loader)), model)
        loaded_peak = peak_rss()
        ready = [next(iter(loader)) for _ in range(4)]
    alone = _rates(config, _endless(lambda: iter(ready)), model)
    return {
        "peer_rows_per_s": summary(with_loader)["rows_per_s"],
        "peer_step_rows_per_s": summary(alone)["rows_per_s"],
        "peer_peak_bytes": loaded_peak,
    }


def prepare(config: SpeedConfig, raw: RawTable) -> dict[str, Any]:
    """Rows per second of its preparation, from text to encoded rows, and the peak memory of its processes.

    All rows are its training data; integers are bucketed as it does for click data. What it keeps running between
    preparations, if anything, is started before the clock.

    Raises:
        RuntimeError: it has not written all rows.
    """
    from fuxictr.datasets.criteo import CustomizedFeatureProcessor  # noqa: PLC0415

    build = importlib.import_module("fuxictr.preprocess.build_dataset")
    rates = []
    with TreePeak() as peak, _services(build):
        for number in range(config.repeats):
            encoder = CustomizedFeatureProcessor(
                feature_cols=_raw_columns(raw),
                label_col={"name": LABEL, "dtype": "float"},
                dataset_id=f"peer-{number}",
                data_root=str(raw.text.parent),
            )
            start = time.perf_counter()
            made = build.build_dataset(
                encoder, train_data=str(raw.text), data_format="csv", sep="\t", min_categr_count=MIN_COUNT
            )[0]
            rates.append(config.rows / (time.perf_counter() - start))
            if (n_rows := pq.read_metadata(made).num_rows) != config.rows:
                raise RuntimeError(f"{PACKAGE} has prepared {n_rows} of {config.rows} rows")
            shutil.rmtree(encoder.data_dir)
    return {"peer_rows_per_s": summary(rates)["rows_per_s"], "peer_peak_bytes": peak.most}


def _raw_columns(raw: RawTable) -> list[dict[str, Any]]:
    """Its description of raw columns."""
    names: dict[str, list[str]] = {"integer": [], "categorical": []}
    for name, kind in raw.kinds.items():
        names[kind].append(name)
    common = {"active": True, "type": "categorical"}
    return [
        {**common, "name": names["integer"], "dtype": "float", "preprocess": "convert_to_bucket", "fill_na": 0},
        {**common, "name": names["categorical"], "dtype": "str", "fill_na": ""},
    ]


@contextmanager
def _services(build: Any) -> Iterator[None]:
    """Its worker processes, in the versions that have some."""
    if not hasattr(build, "init_ray"):
        yield
        return
    ray = importlib.import_module("ray")
    build.init_ray()
    importlib.import_module("ray.data").DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def feature_map(schema: Schema, dim: int) -> Any:
    """Its description of the fields."""
    made = importlib.import_module("fuxictr.features").FeatureMap("speed", ".")
    made.features = OrderedDict(
        (field.name, {"source": "", "type": "categorical", "vocab_size": field.cardinality}) for field in schema.fields
    )
    made.labels = ["label"]
    made.num_fields = schema.n_fields
    made.total_features = schema.vocabulary_rows
    made.default_emb_dim = dim
    made.set_column_index()
    return made


def _write(rows: Rows, file: Path) -> None:
    local = rows.ids.numpy() - rows.schema.offsets[:-1].astype(np.int32)
    columns: dict[str, Any] = {name: local[:, f] for f, name in enumerate(rows.schema.names)}
    np.savez(file, label=rows.labels.numpy(), **columns)


def _endless(make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    while True:
        yield from make()


def _rates(config: SpeedConfig, batches: Iterator[Any], model: Any) -> list[float]:
    """Rows per second of the windows, as ``bench.speed.stages.Windows`` cuts them; a batch is whole or skipped."""
    for _ in range(WARM_UP_STEPS):
        model.train_step(next(batches)).item()
    rates = []
    for _ in range(config.repeats):
        done, start = 0, time.perf_counter()
        while done < LEAST_STEPS or time.perf_counter() - start < config.window_s:
            model.train_step(next(batches)).item()  # its loop reads every loss
            done += 1
        rates.append(done * config.batch / (time.perf_counter() - start))
    return rates
