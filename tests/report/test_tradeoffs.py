"""The answer of a run: what nothing else beats in AUC and one cost, on top of the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import CellRecord, RunFolder, to_frame
from bench.report.build import build_report
from bench.tables.cells import records_of
from bench.tables.model import Table
from bench.tables.places import places, registered_controls
from bench.tables.titles import Titles
from bench.tables.tradeoffs import tradeoff_tables

Cell = Callable[..., CellRecord]
PLAIN = Titles()
MIB = 2**20


def tables(cells: list[CellRecord], controls: tuple[str, ...] = ("coin",)) -> list[Table]:
    return tradeoff_tables(places(records_of(to_frame(cells)), PLAIN, controls), PLAIN)


def example(cell: Cell) -> list[CellRecord]:
    """Alpha is best in AUC, Beta is fastest, the rest is beaten by one of them; Coin would be the cheapest."""
    return [
        cell(auc=0.70, tt_s=4.0, it_s=0.4, embedding_bytes=4 * MIB),
        cell("alpha", auc=0.75, tt_s=3.0, it_s=0.3, embedding_bytes=2 * MIB),
        cell("beta", auc=0.72, tt_s=1.0, it_s=0.3, embedding_bytes=3 * MIB),
        cell("beta", label="beta[x=1]", auc=0.71, tt_s=2.0, it_s=0.5, embedding_bytes=3 * MIB),
        cell("coin", auc=0.60, tt_s=0.5, it_s=0.1, embedding_bytes=MIB),
    ]


def test_rows_are_the_baseline_and_what_nothing_beats(cell: Cell) -> None:
    (table,) = tables(example(cell))
    assert [row.title for row in table.rows] == ["Alpha", "Beta", "Keep-All"], "by falling AUC"
    marked = {
        row.title: {metric.name for (_, metric), value in zip(table.columns, row.values, strict=True) if value.mark}
        for row in table.rows
    }
    assert marked == {"Alpha": {"tt_s", "it_s", "embedding_bytes"}, "Beta": {"tt_s"}, "Keep-All": set()}
    assert [value.text for value in table.rows[1].values] == ["0.7200", "1.000", "300.0", "3.000", "2"]


def test_controls_compete_only_where_nothing_says_that_they_are(cell: Cell) -> None:
    (table,) = tables(example(cell), ())
    assert [row.title for row in table.rows] == ["Alpha", "Beta", "Keep-All", "Coin"]
    assert {"random-k", "cardinality"} == registered_controls(), "known by their family"


def test_prune_ratios_compete_with_each_other(cell: Cell) -> None:
    cells = [
        cell(auc=0.7, tt_s=9.0),
        *(cell("alpha", tau=tau, auc=0.8 - tau / 10, tt_s=4 - tau) for tau in (0.25, 0.5)),
    ]
    (table,) = tables(cells)
    assert [row.title for row in table.rows] == ["Alpha, τ = 0.25", "Alpha, τ = 0.5", "Keep-All"]
    assert [row.facts["tau"] for row in table.rows] == ["0.25", "0.5", None]


def test_one_method_has_no_trade_off(cell: Cell) -> None:
    assert tables([cell(), cell("alpha", status="failed")]) == []
    assert tables([cell(), cell("coin")]) == []


@pytest.mark.figures
def test_the_page_opens_with_it_and_one_figure(cell: Cell, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for record in example(cell):
        run.write(record)
    text = build_report(run, PLAIN)[-1].read_text(encoding="utf-8")
    body = text.partition("</nav>")[2]
    places_of = [
        body.index(part)
        for part in ('<h2 id="t-tradeoffs">', '<p class="answer">', "<table", "<figure", '<h2 id="summary">')
    ]
    assert places_of == sorted(places_of)
    answer = body.partition("</section>")[0]
    assert "Highest AUC: <b>Alpha</b> (0.7500)." in answer
    assert answer.count("<figure>") == 1
    assert "<figcaption>AUC and cost: clicks, net, τ = 0.5</figcaption>" in answer
    assert text.count("AUC and cost: clicks, net, τ = 0.5</figcaption>") == 1


def test_many_places_are_one_click_away(cell: Cell, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for i in range(5):
        for method in ("keep-all", "alpha"):
            run.write(cell(method, dataset=f"d{i}"))
    text = build_report(run, PLAIN)[-1].read_text(encoding="utf-8")
    answer = text.partition('<h2 id="t-tradeoffs">')[2].partition("</section>")[0]
    shown, _, folded = answer.partition("<details><summary>2 more places</summary>")
    assert (shown.count("<h3>"), folded.count("<h3>")) == (3, 2)
