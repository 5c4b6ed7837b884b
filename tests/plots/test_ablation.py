from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any

import pytest

from bench.records import CellRecord
from bench.tables.places import Place
from plots.ablation import ablations, draw
from plots.sheet import legend_labels
from plots.style import render

Record = Callable[..., CellRecord]
PlacesOf = Callable[..., list[Place]]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
AUC = {"net": {"new": [0.80, 0.82], "old": [0.78, 0.80]}, "deep": {"new": [0.70, 0.71], "old": [0.70, 0.72]}}
LOGLOSS = {"new": [0.40, 0.42], "old": [0.44, 0.42]}


def variant(record: Record, backbone: str, which: str, seed: int, **changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "backbone": backbone, "label": "slim" if which == "new" else "slim[start=cold]",
        "params": {"start": "warm" if which == "new" else "cold", "rows": 10, "split": "train"},
        "field_scores": SCORES, "auc": AUC[backbone][which][seed], "logloss": LOGLOSS[which][seed], **changes,
    }  # fmt: skip
    return record("slim", seed, 0.5, **values)


def pairs(record: Record, **old: Any) -> list[CellRecord]:
    return [
        variant(record, backbone, which, seed, **(old if which == "old" else {}))
        for backbone in AUC
        for which in ("new", "old")
        for seed in (0, 1)
    ]


def test_the_default_is_compared_seed_by_seed_on_every_backbone(record: Record, places_of: PlacesOf) -> None:
    (found,) = ablations(places_of(*pairs(record)))
    assert (found.method, found.parameter, found.new, found.old) == ("slim", "start", "warm", "cold")
    assert (found.dataset, found.tau) == ("clicks", 0.5)
    assert [gain.backbone for gain in found.gains] == ["deep", "net"]
    for gain in found.gains:
        auc = [100 * (a - b) / b for a, b in zip(AUC[gain.backbone]["new"], AUC[gain.backbone]["old"], strict=True)]
        logloss = [100 * (b - a) / b for a, b in zip(LOGLOSS["new"], LOGLOSS["old"], strict=True)]
        assert gain.mean == pytest.approx((fmean(auc), fmean(logloss)))
        assert gain.sd == pytest.approx((stdev(auc), stdev(logloss)))
    figure = draw(found, "Ablation")
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["deep", "net"]
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[gain.mean[number] for gain in found.gains] for number in (0, 1)]
    assert axes.get_ylabel() == "Improvement [%]"
    assert legend_labels(figure) == ["AUC", "Logloss"]
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


@pytest.mark.parametrize(
    "old",
    [
        {"field_scores": SCORES[::-1]},
        {"field_scores": None},
        {"kept_fields": [0, 1, 2, 7]},
        {"params": {"start": "cold", "rows": 20, "split": "train"}},
        {"params": {"start": "warm", "rows": 20, "split": "train"}},
        {"params": {"start": None, "rows": 10, "split": "train"}},
        {"params": {"start": "cold", "rows": 10}},
        {"budget": "native"},
        {"tau": 0.25},
        {"label": "slim"},
    ],
    ids=[
        "scores",
        "no scores",
        "fields",
        "two settings",
        "a number",
        "no text",
        "other settings",
        "budget",
        "tau",
        "label",
    ],
)
def test_rows_that_differ_in_the_selection_or_in_more_make_no_pair(
    record: Record, places_of: PlacesOf, old: dict[str, Any]
) -> None:
    cells = [CellRecord(**{**cell.to_dict(), **(old if "cold" in cell.label else {})}) for cell in pairs(record)]
    assert ablations(places_of(*cells)) == []


def test_scores_that_differ_by_rounding_are_alike(record: Record, places_of: PlacesOf) -> None:
    assert len(ablations(places_of(*pairs(record, field_scores=[s * (1 + 1e-6) for s in SCORES])))) == 1


def test_a_backbone_that_lacks_a_seed_is_left_out(record: Record, places_of: PlacesOf) -> None:
    cells = pairs(record)
    broken = [
        CellRecord(**{**cell.to_dict(), "status": "failed", "auc": None, "logloss": None})
        if (cell.backbone, cell.seed, cell.label) == ("net", 1, "slim")
        else cell
        for cell in cells
    ]
    (found,) = ablations(places_of(*broken))
    assert [gain.backbone for gain in found.gains] == ["deep"]


def test_the_plainer_row_is_the_new_one_and_two_overridden_rows_make_no_pair(
    record: Record, places_of: PlacesOf
) -> None:
    three = [
        variant(record, "net", which, seed, label=label, params={"start": start})
        for which, start, label in (
            ("old", "cold", "slim[start=cold]"), ("new", "warm", "slim"), ("old", "mild", "slim[start=mild]")
        )
        for seed in (0, 1)
    ]  # fmt: skip
    found = ablations(places_of(*three))
    assert [(pair.new, pair.old) for pair in found] == [("warm", "cold"), ("warm", "mild")]
