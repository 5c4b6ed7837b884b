"""The reference line: logistic regression beside the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from bench.data.schema import Field, Schema
from bench.errors import DataError
from bench.rows.load import LoadedData
from bench.rows.rows import Rows
from bench.run import line as lines
from bench.run.cell import run_cell
from bench.run.job import Job
from bench.run.line import STRENGTHS, LineStore, fit_line

MakeJob = Callable[..., Job]
SIZES = (5, 4)
"""Ids of the fields, the second of which is numeric."""


def rows(n: int, seed: int) -> Rows:
    """Rows with a categorical field of three values, the middle one clicked most, and a numeric field."""
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(2, 5, (n,), generator=draw)
    numbers = torch.randn(n, generator=draw)
    logit = 1.5 * (codes == 3) + 0.8 * numbers - 1
    labels = (torch.rand(n, generator=draw) < logit.sigmoid()).float()
    schema = Schema((Field("city", "categorical", SIZES[0]), Field("price", "numeric", SIZES[1])))
    ids = torch.stack([codes, torch.full((n,), SIZES[0] + 2)], 1).int()
    return Rows(schema, ids, numbers[:, None], labels, torch.arange(n))


def data(make_job: MakeJob) -> LoadedData:
    found = make_job("no-selection").data
    train, valid, test = (rows(n, seed) for seed, n in enumerate((600, 200, 300)))
    return replace(found, train=train, valid=valid, test=test)


def design(part: Rows) -> np.ndarray:
    """One-hot, the number in the column of its id; [N, V]."""
    dense = np.zeros((len(part), sum(SIZES)))
    dense[np.arange(len(part)), part.ids[:, 0].numpy()] = 1
    dense[:, SIZES[0] + 2] = part.numeric[:, 0].numpy()  # type: ignore[index]
    return dense


def test_it_minimises_the_penalised_loss_at_the_best_strength_of_the_grid(make_job: MakeJob) -> None:
    made = data(make_job)
    x, y = design(made.train), 2 * made.train.labels.numpy() - 1

    def solve(strength: float) -> np.ndarray:
        def loss(w: np.ndarray) -> float:
            margin = y * (x @ w[1:] + w[0])
            return float(0.5 * w[1:] @ w[1:] + strength * np.logaddexp(0, -margin).sum())

        return np.asarray(minimize(loss, np.zeros(x.shape[1] + 1), tol=1e-10).x)

    def auc(w: np.ndarray, part: Rows) -> float:
        return float(roc_auc_score(part.labels.numpy(), design(part) @ w[1:]))

    solved = {strength: solve(strength) for strength in STRENGTHS}
    best = max(STRENGTHS, key=lambda strength: auc(solved[strength], made.valid))
    found = fit_line(made)
    assert found.strength == best
    assert found.valid_auc == pytest.approx(auc(solved[best], made.valid), abs=2e-4)
    assert found.auc == pytest.approx(auc(solved[best], made.test), abs=2e-4)
    assert found.logits == pytest.approx(design(made.test) @ solved[best][1:] + solved[best][0], abs=5e-3)
    assert found.rows == 600


def test_of_large_data_it_sees_some_rows(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_ROWS", 200)
    assert fit_line(data(make_job)).rows == 200


def test_it_is_fitted_once_and_kept(make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, store = data(make_job), LineStore(tmp_path / "lines")
    first = store.find(made)
    monkeypatch.setattr(lines, "fit_line", lambda data: pytest.fail("fitted again"))
    again = LineStore(tmp_path / "lines").find(made)
    assert again.logits.tolist() == first.logits.tolist()
    assert replace(again, logits=first.logits) == first
    (numbers,) = (tmp_path / "lines").glob("*.json")
    numbers.write_text("{")
    with pytest.raises(DataError, match=r"no readable reference line .* Delete it and run again"):
        store.find(made)


def test_a_cell_that_keeps_everything_is_compared_with_it(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("no-selection", lines=LineStore(tmp_path / "lines"))
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    line = fit_line(job.data)
    assert record.line is not None and record.auc is not None
    assert (
        record.line["auc"]
        == line.auc
        == pytest.approx(roc_auc_score(job.data.test.labels.numpy(), line.logits), abs=1e-12)
    )
    assert record.line["difference"] == pytest.approx(record.auc - line.auc, abs=1e-9)
    assert record.line["error"] > 0
    assert run_cell(make_job("random-k", lines=LineStore(tmp_path / "lines"))).line is None
    assert run_cell(make_job("no-selection")).line is None, "nowhere to keep it"
