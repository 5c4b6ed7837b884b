"""Experiments beyond the paper's own, each run whole on a small data set: one run folder, as their cells overlap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_records import Watcher

from bench.cli.run import parse
from bench.data.prepare.prepare import prepare
from bench.data.prepare.ready import make_ready
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.engine.evaluate import inference_time
from bench.records import CellRecord, to_frame
from bench.run import columns, weights
from bench.run.match import kept_scalars
from bench.run.session import resolve
from bench.run.sweep import run
from bench.tables.kinds import KINDS
from bench.tables.overall import tables_of

DATA = "planted[rows=1200,fields=12,main=4,interaction=2,redundant=0,junk=second-order]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all of them run; times are taken once."""
    found = tmp_path_factory.mktemp("experiments")
    card = resolve_dataset(DATA)
    prepare(card, None, store_folder(found / "data", card))

    def once(model: Any, rows: Any, *given: Any, **clocking: Any) -> Any:
        return inference_time(model, rows, 1, 0.0, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "inference_time", once)
        patch.setattr(weights, "inference_time", once)
        yield found


def ran(folder: Path, name: str, *flags: str) -> list[CellRecord]:
    given = ["--experiment", name, "--datasets", DATA, "--seeds", "1", "--epochs", "1", "--backbones", "dnn[mlp=8]"]
    given += ["--out", str(folder / "run"), "--data-dir", str(folder / "data"), *flags]
    found = run(resolve(parse(given)), Watcher())
    assert {record.status for record in found} == {"ok"}, {
        record.label: record.reason for record in found if record.reason
    }
    return found


def test_tabular_counts_the_junk_that_selectors_keep(folder: Path) -> None:
    found = ran(folder, "tabular", "--prune-ratio", "0.5")
    assert len(found) == 11
    for record in found:
        kept = [record.field_names[place] for place in record.kept_fields or ()]
        assert record.recovery is not None
        junk = record.recovery["junk_share"] * len(kept)
        true = record.recovery["precision_at_n_keep"] * len(kept)
        assert (junk + true, len(kept)) == (pytest.approx(len(kept)), 12 if record.is_baseline else 6)
    (table,) = tables_of(KINDS["recovery"], to_frame(found))
    assert "Junk among kept" in [metric.title for metric in table.groups[0].metrics]


def test_compression_has_rows_of_equal_budgets(folder: Path) -> None:
    found = {record.label: record for record in ran(folder, "compression", "--prune-ratio", "0.9")}
    assert len(found) == 8
    (table,) = tables_of(KINDS["weights"], to_frame(found.values()))
    place = [metric.name for _, metric in table.columns].index("active_scalars")
    active = {row.label: row.values[place].mean for row in table.rows}
    v, dim = found["dsl"].vocabulary_rows, found["dsl"].profile["dim"]
    assert v is not None and active["no-selection"] == v * dim
    budget = v * dim - 9 * v * dim // 10
    assert {active[name] for name in ("dsl", "sparserec", "magnitude")} == {budget}
    for name in ("lasso[budget=match:magnitude]", "random-k[budget=match:magnitude]"):
        assert 0 < (active[name] or 0) <= budget
    assert not {"optfs[budget=exact]", "optem[budget=exact]"} & set(active), "their masks are on values and coordinates"
    values, coordinates = (kept_scalars(found[f"{name}[budget=exact]"], False)[0] for name in ("optfs", "optem"))
    assert values == dim * (v - 9 * v // 10)
    assert 0 < coordinates <= budget


def test_erase_ranks_fields_by_its_eleven_methods(folder: Path) -> None:
    found = ran(folder, "erase", "--prune-ratio", "0.5")
    ranked = [record for record in found if record.family not in ("baseline", "control")]
    assert len(ranked) == 11
    assert {record.budget for record in ranked} == {"field"}
    assert all(record.field_scores is not None and len(record.kept_fields or ()) == 6 for record in ranked)


@pytest.mark.slow
def test_junk_is_kept_by_lot_by_half_and_by_a_method_that_looks_at_clicks_hardly(folder: Path) -> None:
    """On a table from a file: three fields that say something, each of them with junk beside."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2_000)
    fields = [
        np.where(rng.random(2_000) < share, labels, rng.integers(0, n, 2_000))
        for share, n in ((0.5, 6), (0.4, 7), (0.3, 8))
    ]
    lines = (",".join(map(str, row)) for row in zip(labels, *fields, strict=True))
    raw, card = folder / "real.csv", folder / "real.toml"
    raw.write_text("\n".join(["y,a,b,c", *lines]) + "\n")
    card.write_text(
        'name = "real"\n[raw.columns]\ny = "label"\na = "categorical"\nb = "categorical"\nc = "categorical"\n'
    )
    plain = resolve_dataset(str(card))
    prepare(plain, raw, store_folder(folder / "data", plain))
    make_ready([resolve_dataset(f"{card}[junk=random]")], folder / "data", lambda _: None)
    found = ran(folder, "junk", "--datasets", f"{card}[junk=random]", "--out", str(folder / "junk"))
    assert len(found) == 35
    shares = {record.label: (record.recovery or {})["junk_share"] for record in found}
    assert shares["no-selection"] == 0.5
    sound = ("lasso", "xgboost", "mutual-information", "random-forest", "permutation", "drop-one[max_fields=78]")
    assert {shares[name] for name in sound} == {0.0}
    (table,) = tables_of(KINDS["overall"], to_frame(found))
    assert [metric.title for metric in table.groups[0].metrics][-1] == "Junk among kept"
