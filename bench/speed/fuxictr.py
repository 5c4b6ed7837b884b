"""FuxiCTR as a peer: its layers, its training step, its loader and its defaults, on the same rows, on the CPU.

Rows go to it in its own form: one column a field, counted from 0, in an .npz file.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import registry
from bench.data.rows import Rows
from bench.data.schema import Schema
from bench.errors import ConfigError
from bench.job import resolve_backbone
from bench.params import parse_spec
from bench.speed.data import make_rows
from bench.speed.rate import peak_rss, summary
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
    title = registry.backbones().entry(parse_spec(backbone).name).title.replace("&", "")
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
