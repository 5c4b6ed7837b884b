from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bench.data.raw.generated import generated_data
from bench.datasets import resolve_dataset
from bench.records import CellRecord, RunFolder, to_frame
from bench.report import drawing
from bench.report.build import build_report
from bench.report.drawing import Drawing
from bench.tables.cells import records_of
from bench.tables.places import places
from bench.tables.roles import true_roles
from bench.tables.titles import Titles

pytestmark = pytest.mark.figures
Cell = Callable[..., CellRecord]
TAUS = (0.0, 0.25, 0.5)


def figure_files(frame: pd.DataFrame, processes: int | None = None) -> list[tuple[str, str, bytes]]:
    with Drawing(len(frame), processes) as figures:
        figures.begin(frame, Titles())
        return list(figures.files())


def full_run(cell: Cell) -> list[CellRecord]:
    """Two backbones; one method at three prune ratios, with a parameter swept and one switched after the selection."""
    scores = [0.9, 0.5, 0.4, 0.1]
    cells = []
    for backbone in ("net", "deep"):
        for seed in (0, 1):
            shared = {"backbone": backbone, "field_names": ["a", "b", "c", "d"]}
            cells.append(cell(seed=seed, kept_fields=[0, 1, 2, 3], **shared))
            for rows, start in ((10, "warm"), (20, "warm"), (40, "warm"), (10, "cold")):
                given = [f"rows={rows}"] * (rows != 10) + [f"start={start}"] * (start != "warm")
                cells += [
                    cell(
                        "alpha",
                        seed,
                        tau=tau,
                        label="alpha" + (f"[{','.join(given)}]" if given else ""),
                        params={"rows": rows, "start": start},
                        field_scores=scores if rows == 10 else scores[::-1],
                        kept_fields=list(range(round(4 * (1 - tau)))),
                        auc=0.7 + rows / 1000 - tau / 10,
                        **shared,
                    )
                    for tau in TAUS
                ]
    return cells


def test_every_kind_that_the_records_allow_is_drawn_in_three_formats(cell: Cell) -> None:
    files = figure_files(to_frame(full_run(cell)))
    names = [name for name, _, _ in files]
    by_place = ("cost", "pareto", "tau", "k-sweep", "sensitivity-alpha-rows", "importance", "stability")
    stems = {f"{kind}-clicks-{backbone}" for kind in by_place for backbone in ("net", "deep")}
    stems |= {f"ablation-alpha-start-cold-tau{tau:g}-clicks" for tau in TAUS}
    assert set(names) == {f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png", "svg")}
    assert len(names) == len(set(names))
    titles = {title for _, title, _ in files}
    assert len(titles) == len(stems), "the page finds figures by title"
    assert "Training time: clicks, net" in titles
    assert "Alpha, start warm against cold: clicks, τ = 0.5" in titles


@pytest.mark.slow
def test_figures_do_not_depend_on_the_order_of_records(cell: Cell) -> None:
    cells = full_run(cell)
    first, second = (figure_files(to_frame(order)) for order in (cells, cells[::-1]))
    assert first == second


def test_figures_do_not_depend_on_who_draws_them(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [record for record in full_run(cell) if record.seed == 0 and record.tau in (None, 0.5)]
    frame = to_frame([record for record in few if record.backbone == "net"])
    alone = figure_files(frame, processes=1)
    assert {title.partition(":")[0] for _, title, _ in alone} > {"Training time", "Importance of fields"}
    assert figure_files(frame, processes=2) == alone

    def broken(folder: Path, share: int) -> subprocess.Popen[bytes]:
        (folder / "taken-0").touch()  # and never drawn
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])

    monkeypatch.setattr(drawing, "_start", broken)
    assert figure_files(frame, processes=2) == alone, "what a child leaves undone is drawn here"


def test_nothing_is_drawn_of_a_run_without_results(cell: Cell) -> None:
    broken = [cell(method, status="failed") for method in ("keep-all", "alpha")]
    assert figure_files(to_frame(broken)) == []


def test_figures_are_on_the_page_with_their_titles(tmp_path: Path, cell: Cell) -> None:
    run = RunFolder(tmp_path)
    for record in full_run(cell):
        if record.seed == 0 and record.label in ("keep-all", "alpha"):
            run.write(record)
    build_report(run, Titles())
    text = (tmp_path / "report.html").read_text()
    for title in ("Training time: clicks, net", "AUC over kept fields: clicks, deep"):
        assert f"<figcaption>{title}</figcaption>" in text


def test_a_place_has_the_numbers_of_the_tables_and_only_complete_ones(cell: Cell) -> None:
    cells = [
        *(cell(seed=seed, ct_s=3.0 + seed) for seed in (0, 1)),
        *(cell("alpha", seed, tau=tau) for tau in (0.25, 0.5) for seed in (0, 1) if (tau, seed) != (0.25, 1)),
        cell("beta", 0, status="skipped"),
    ]
    (place,) = places(records_of(to_frame(cells)), Titles())
    base, alpha, _ = place.rows
    assert [place.rows[row] for row in place.rows] == ["Keep-All", "Alpha", "Beta"]
    assert place.taus == (0.25, 0.5)
    assert place.title == "clicks, net"
    low, high = place.blocks
    assert set(place.numbers(low, "auc")) == {base}
    assert set(place.numbers(high, "auc")) == {base, alpha}
    assert place.numbers(high, "ct_s")[base].mean == pytest.approx(3.5)
    assert place.baseline("ct_s") == ("Keep-All", place.numbers(low, "ct_s")[base])
    assert [(row.label, tau) for _, row, tau in place.entries()] == [
        ("keep-all", None), ("alpha", 0.25), ("alpha", 0.5), ("beta", 0.5),
    ]  # fmt: skip
    assert place.lacking(["auc"]) == [
        "Not or not wholly drawn, for want of results at every seed: Alpha at τ = 0.25; Beta at τ = 0.5."
    ]
    assert place.lacking(["auc"], [base]) == []


def test_places_without_a_prune_ratio_have_one_block(cell: Cell) -> None:
    cells = [cell(dataset="other"), cell("alpha", tau=None, dataset="other")]
    cells += [cell("alpha", tau=tau) for tau in (0.25, 0.5)]
    first, second = places(records_of(to_frame(cells)), Titles())
    assert (first.title, first.taus, len(first.blocks)) == ("clicks, net", (0.25, 0.5), 2)
    assert (second.title, second.taus, len(second.blocks)) == ("other, net", (), 1)
    assert [cells_of for place in (first, second) for cells_of in place.cells] == [0, 1, 2, 3]


def test_true_roles_are_those_of_the_data_set_as_it_is_now(cell: Cell) -> None:
    names = [f"f{i:02d}" for i in range(24)]
    known = {"dataset": "planted[rows=2000]", "recovery": {"precision_at_k": 1.0}, "field_names": names}
    card = resolve_dataset("planted[rows=2000]")
    cells = records_of(
        to_frame(
            [
                cell("alpha", 0, dataset_revision=str(card.revision), **known),
                cell("alpha", 1, dataset_revision="older", **known),
                cell("alpha", 2, dataset_revision=str(card.revision), **{**known, "recovery": None}),
                cell("alpha", 3, dataset_revision="1", **{**known, "dataset": "planted.toml"}),
            ]
        )
    )
    made, older, real, own = sorted(cells, key=lambda one: one["seed"])
    assert dict(true_roles(made)) == dict(generated_data(card).roles)
    assert [dict(true_roles(one)) for one in (older, real, own)] == [{}, {}, {}]
