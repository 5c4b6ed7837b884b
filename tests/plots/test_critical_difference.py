from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.records import CellRecord, to_frame
from bench.stats.ranks import critical_difference
from plots.critical_difference import draw, ranking
from plots.style import render

METHODS = ("keep", "good", "bad", "odd")


def cell(method: str, dataset: str, seed: int, auc: float | None, **changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "dataset": dataset, "backbone": "net", "method": method, "method_title": method.title(),
        "method_order": METHODS.index(method), "label": method, "seed": seed, "status": "ok", "auc": auc,
        "tau": None if method == "keep" else 0.5, "config_hash": "0" * 64,
    }  # fmt: skip
    return CellRecord(**{**values, **changes})


def scores(n_blocks: int, n_methods: int = 3) -> np.ndarray:
    """AUC by block, method and two seeds, [N, k, 2]."""
    rng = np.random.default_rng(5)
    return 0.7 + np.array([0.0, 0.02, -0.02, 0.0])[:n_methods, None] + rng.normal(0, 0.01, (n_blocks, n_methods, 2))


def cells(auc: np.ndarray) -> list[CellRecord]:
    return [
        cell(METHODS[j], f"d{i}", seed, float(auc[i, j, seed]))
        for i in range(auc.shape[0])
        for j in range(auc.shape[1])
        for seed in (0, 1)
    ]


def frame(auc: np.ndarray) -> pd.DataFrame:
    return to_frame(cells(auc))


def test_seeds_are_averaged_before_blocks_are_ranked() -> None:
    auc = scores(6, 4)
    found = ranking(frame(auc), 0.5)
    assert found is not None
    means = auc.mean(axis=2)
    np.testing.assert_allclose(found.ranks, stats.rankdata(-means, axis=1).mean(axis=0))
    assert found.test.chi2 == pytest.approx(stats.friedmanchisquare(*means.T).statistic)
    assert (found.test.n_blocks, found.n_incomplete, found.without) == (6, 0, [])
    assert found.difference == critical_difference(4, 6)
    assert found.methods == ["Keep", "Good", "Bad", "Odd"]


def test_backbones_make_blocks_and_other_prune_ratios_do_not_count() -> None:
    auc = scores(3)
    one, other = cells(auc), [cell_of(c, backbone="deep") for c in cells(auc)]
    elsewhere = [cell_of(c, tau=0.25, auc=0.9) for c in one if c.method == "bad"]
    found = ranking(to_frame([*one, *other, *elsewhere]), 0.5)
    assert found is not None
    assert found.test.n_blocks == 6
    assert ranking(to_frame([*one, *other, *elsewhere]), 0.25) is None, "two methods have no critical difference here"


def cell_of(record: CellRecord, **changes: Any) -> CellRecord:
    return CellRecord(**{**record.to_dict(), **changes})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: cell_of(c, status="failed", auc=None),
        lambda c: None,
        lambda c: [c, cell_of(c, params={"other": 1})],
    ],
    ids=["failed", "missing", "twice"],
)
def test_a_block_that_lacks_a_cell_is_left_out(spoil: Callable[[CellRecord], Any]) -> None:
    auc = scores(6)
    whole = cells(auc)
    broken = spoil(whole[3])
    changed = [*whole[:3], *(broken if isinstance(broken, list) else [broken] if broken else []), *whole[4:]]
    found = ranking(to_frame(changed), 0.5)
    assert found is not None
    assert (found.test.n_blocks, found.n_incomplete) == (5, 1)
    kept = stats.rankdata(-auc[1:].mean(axis=2), axis=1)
    np.testing.assert_allclose(found.ranks, kept.mean(axis=0))
    assert ranking(to_frame([c for c in changed if c.dataset != "d5"]), 0.5) is None, "4 blocks are too few"


def test_a_method_complete_nowhere_is_named_and_left_out() -> None:
    skipped = [cell("odd", f"d{i}", 0, None, status="skipped") for i in range(5)]
    found = ranking(to_frame([*cells(scores(5)), *skipped]), 0.5)
    assert found is not None
    assert found.without == ["Odd"]
    figure = draw(to_frame([*cells(scores(5)), *skipped]), 0.5, "t")
    assert figure is not None
    assert "complete in no block: Odd." in " ".join(figure.axes[0].texts[-1].get_text().split())


def test_too_few_methods_or_ties_everywhere_give_no_figure() -> None:
    assert draw(frame(scores(5, 2)), 0.5, "t") is None
    assert draw(frame(np.full((5, 3, 2), 0.7)), 0.5, "t") is None
    assert draw(to_frame([]), 0.5, "t") is None


def test_figure_places_methods_by_rank_and_joins_those_that_do_not_differ() -> None:
    data = frame(scores(12, 4))
    found, figure = ranking(data, 0.5), draw(data, 0.5, "Ranks of $x$")
    assert found is not None
    assert figure is not None
    axes = figure.axes[0]
    shown = [text.get_text() for text in axes.texts]
    assert shown[0] == "Ranks of $x$"
    for name, rank in zip(found.methods, found.ranks, strict=True):
        assert f"{name}  {rank:.2f}" in shown
    bars = [line for line in axes.lines if line.get_linewidth() == 2.4]
    assert len(bars) == len(found.groups) > 0
    leads = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 3]
    assert np.argsort(found.ranks).tolist() == [np.flatnonzero(found.ranks == r)[0] for r in sorted(found.ranks)]
    np.testing.assert_allclose(leads, sorted(leads), err_msg="from the best to the worst")
    spread = (leads[-1] - leads[0]) / np.ptp(found.ranks)
    ticks = [t.get_position()[0] for t in axes.texts if t.get_text() in {"1", "2", "3", "4"}]
    np.testing.assert_allclose(np.diff(ticks), spread)
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


def test_the_same_cells_in_another_order_give_the_same_picture() -> None:
    records = cells(scores(5))
    first, second = (draw(to_frame(r), 0.5, "t") for r in (records, records[::-1]))
    assert first is not None
    assert second is not None
    assert render(first) == render(second)
