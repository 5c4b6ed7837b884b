"""Times of a timing pass in print: their range, no mark where ranges overlap, and how they lead back to the repeats."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.formats import csv as csv_format
from bench.report.formats import html, latex, markdown
from bench.report.formats.latex_widths import columns_pt
from bench.report.formats.terminal import terminal_table
from bench.tables.metrics import METRICS
from bench.tables.model import Table, Value
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLACE: dict[str, Any] = {"host": {}, "device": None, "threads": None}


def timing(ct_s: Sequence[float], pt_s: float = 0.0, **changes: Any) -> dict[str, Any]:
    """What a record holds of repeats with these trainings."""
    n = len(ct_s)
    times = {"pt_s": [pt_s] * n, "ct_s": list(ct_s), "it_s": [0.25] * n}
    return {"repeats": n, **times, "disturbed": [{}] * n, **PLACE, "differs": None} | changes


def timed(cell: Cell, method: str, ct_s: Sequence[float], **changes: Any) -> CellRecord:
    """A cell of ``method`` that was timed three times, without pretraining."""
    given = {"timing": timing(ct_s), "disturbed": {}} | changes
    return cell(method, pt_s=0.0, ct_s=sorted(ct_s)[len(ct_s) // 2], **given)


def column(tables: Sequence[Table], metric: str) -> dict[str, Value]:
    (table,) = tables
    place = next(i for i, (_, other) in enumerate(table.columns) if other.name == metric)
    return {row.label: row.values[place] for row in table.rows}


def ratios(*records: CellRecord) -> dict[str, Value]:
    return column(overall_tables(to_frame(records), Titles()), "tt_ratio")


def marks(values: Mapping[str, Value]) -> dict[str, str]:
    return {label: value.mark for label, value in values.items() if value.mark}


def test_a_ratio_has_the_range_of_ratios_round_by_round(cell: Cell) -> None:
    # the machine was twice as slow in round two, for both: that is no spread of their ratio
    found = ratios(timed(cell, "keep-all", (4.0, 8.0, 5.0)), timed(cell, "alpha", (2.0, 4.0, 3.0)))["alpha"]
    assert found.mean == 3.0 / 5.0
    assert (found.low, found.high) == (2.0 / 4.0, 3.0 / 5.0)
    assert found.range_text == "0.5000–0.6000"
    times = column(efficiency_tables(to_frame([timed(cell, "alpha", (2.0, 4.0, 3.0))]), Titles()), "ct_s")["alpha"]
    assert (times.text, times.range_text) == ("3.000", "2.000–4.000")


def test_over_seeds_ranges_are_means_and_need_repeats_of_each(cell: Cell) -> None:
    def table(*records: CellRecord) -> Value:
        return column(efficiency_tables(to_frame(records), Titles()), "ct_s")["alpha"]

    first = timed(cell, "alpha", (1.0, 2.0, 3.0))
    found = table(first, timed(cell, "alpha", (3.0, 5.0, 6.0), seed=1))
    assert (found.mean, found.low, found.high) == ((2.0 + 5.0) / 2, (1.0 + 3.0) / 2, (3.0 + 6.0) / 2)
    assert found.range_text == "2.000–4.500"
    mixed = table(first, cell("alpha", seed=1))
    assert (mixed.low, mixed.range_text) == (None, "")


def test_ratios_whose_repeats_overlap_have_no_mark(cell: Cell) -> None:
    base = timed(cell, "keep-all", (1.0, 1.0, 1.0))
    near = [timed(cell, "alpha", (0.5, 0.6, 0.7)), timed(cell, "beta", (0.6, 0.65, 0.8))]
    assert marks(ratios(base, *near)) == {}
    apart = [timed(cell, "alpha", (0.5, 0.6, 0.7)), timed(cell, "beta", (0.71, 0.75, 0.8))]
    assert marks(ratios(base, *apart)) == {"alpha": "best", "beta": "second"}
    # the second overlaps with the third, so that the best alone is one
    third = timed(cell, "coin", (0.79, 0.82, 0.9))
    assert marks(ratios(base, *apart, third)) == {"alpha": "best"}


def test_a_ratio_on_both_sides_of_one_has_no_mark_nor_has_one(cell: Cell) -> None:
    base = timed(cell, "keep-all", (1.0, 1.0, 1.0))
    assert marks(ratios(base, timed(cell, "alpha", (0.9, 0.95, 1.1)))) == {}
    assert marks(ratios(base, timed(cell, "alpha", (0.9, 0.95, 0.99)))) == {"alpha": "best", "keep-all": "second"}


def test_searches_of_a_pass_are_shared_with_nobody(cell: Cell) -> None:
    def notes(record: CellRecord) -> list[str]:
        (table,) = efficiency_tables(to_frame([record]), Titles())
        return [note.text for note in table.notes if "charged to each" in note.text]

    assert len(notes(cell("alpha", pt_shared=True))) == 1
    assert notes(timed(cell, "alpha", (1.0, 2.0, 3.0), pt_shared=True)) == []


def test_without_repeats_marks_stay(cell: Cell) -> None:
    found = ratios(cell("keep-all", ct_s=3.0, pt_s=0.0), cell("alpha", ct_s=2.99, pt_s=0.0))
    assert marks(found) == {"alpha": "best", "keep-all": "second"}
    assert all(value.low is None for value in found.values())


def test_a_disturbed_repeat_is_in_no_range(cell: Cell) -> None:
    why = {"ct": "other processes had the cores for 50% of its computing time"}
    given = timing((2.0, 9.0, 4.0), disturbed=[{}, why, {}])
    found = column(efficiency_tables(to_frame([cell("alpha", ct_s=3.0, timing=given)]), Titles()), "ct_s")["alpha"]
    assert (found.text, found.low, found.high) == ("3.000", 2.0, 4.0)


def test_times_count_where_the_pass_was_made(cell: Cell) -> None:
    """A resumed cell has times again, and circumstances of its results are none of its times'."""
    base = timed(cell, "keep-all", (2.0, 2.0, 2.0), threads=8)
    other = timed(cell, "alpha", (1.0, 1.0, 1.0), threads=1, resumed=True)
    found = ratios(base, other)["alpha"]
    assert (found.mean, found.flags) == (0.5, ())
    elsewhere = timed(cell, "alpha", (1.0, 1.0, 1.0), timing=timing((1.0, 1.0, 1.0), threads=8))
    assert ratios(base, elsewhere)["alpha"].mean is None


def test_a_ratio_is_of_repeats_of_one_round() -> None:
    tt = METRICS["tt_ratio"]
    own, base = timing((2.0, 1.0, 10.0)), timing((1.0, 10.0, 2.0))
    cells = [{"timing": one, "resumed": False, "disturbed": {}, **PLACE} for one in (own, base)]
    assert tt.over_repeats(*cells) == [2.0, 0.1, 5.0]


def test_the_caption_says_what_brackets_are_and_every_format_prints_them(cell: Cell) -> None:
    records = [timed(cell, "keep-all", (4.0, 8.0, 5.0)), timed(cell, "alpha", (2.0, 4.0, 3.0))]
    (table,) = tables = overall_tables(to_frame(records), Titles())
    said = "median of 3 repeats, interleaved; in brackets the smallest and the largest."
    assert table.caption.endswith(said)
    assert "0.6000¹ (0.5000–0.6000)" in terminal_table(to_frame(records), Titles(), width=150)
    assert "**0.6000** <sub>(0.5000–0.6000)</sub>" in markdown.document(tables, "Results")
    assert r"\textbf{0.6000}{\scriptsize\,(0.5000--0.6000)}" in latex.document(tables)
    page = html.page([], [html.Section("Results", tables, "overall")], {}, html.Answer("", ""))
    assert "<small>(0.5000–0.6000)</small>" in page
    rows = list(csv.DictReader(io.StringIO(csv_format.document(tables))))
    (found,) = [row for row in rows if (row["label"], row["metric"]) == ("alpha", "tt_ratio")]
    assert (found["mean"], found["low"], found["high"]) == ("0.6", "0.5", "0.6")
    assert "the training time of Keep-All (5.000 s (4.000–8.000) on " in table.caption
    plain = overall_tables(to_frame([cell("keep-all"), cell("alpha")]), Titles())
    assert "repeats" not in plain[0].caption
    assert csv_format.document(plain).splitlines()[0].endswith(",flags")
    assert columns_pt(table)[-1] > columns_pt(plain[0])[-1]


def test_another_result_of_a_repeat_is_noted(cell: Cell) -> None:
    given = timing((1.0, 1.0), differs="repeat 2 gave auc 0.125 and not 0.75")
    (table,) = overall_tables(to_frame([cell("keep-all"), timed(cell, "alpha", (1.0, 1.0), timing=given)]), Titles())
    notes = [note.text for note in table.notes if "timing pass" in note.text]
    assert len(notes) == 1 and "Alpha on clicks, seed 0 (repeat 2 gave auc 0.125 and not 0.75)" in notes[0]


def test_explain_shows_the_repeats(cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path)
    why = {"ct": "other processes had the cores for 50% of its computing time"}
    given = timing((2.0, 9.0, 4.0), pt_s=0.5, disturbed=[{}, why, {}])
    run.write(cell("alpha", pt_s=0.5, ct_s=3.0, timing=given))

    def explained(metric: str) -> list[str]:
        assert main(["explain", str(run.path), "efficiency", "clicks", "alpha", metric]) == 0
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    lines = explained("ct_s")
    assert lines[1] == "Alpha on clicks: CT [s] ↓ = 3.000 (2.000–4.000)"
    assert "PT of 3 repeats: 0.5000, 0.5000, 0.5000 s" in lines
    assert "CT of 3 repeats: 2.000, 9.000, 4.000 s" in lines
    assert "IT of 3 repeats: 250.0, 250.0, 250.0 ms" in lines
    assert f"repeat 2, disturbed: CT: {why['ct']}" in lines
    assert not any("of 3 repeats" in line for line in explained("epochs"))
