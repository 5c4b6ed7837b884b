"""Notes are data until a format prints them: kinds, leads and items, and what of them ``explain`` shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.flags import FLAGS, CellFlag
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.formats import html, latex, markdown
from bench.report.formats.terminal import terminal_table
from bench.tables.adaptability import adaptability_tables
from bench.tables.model import ABSENT, FEWER_SEEDS, REMARK, RESUMED, Item, Note, Table
from bench.tables.notes import merged
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()


def overall(*cells: CellRecord) -> Table:
    (table,) = overall_tables(to_frame(cells), PLAIN)
    return table


def items(table: Table, kind: object) -> list[Item]:
    return [item for note in table.notes if note.kind == kind for item in note.items]


@pytest.mark.parametrize(
    ("lead", "parts", "text"),
    [("times left out", ("a", "b"), "times left out: a; b."), ("said", (), "said."), ("", ("a: b", "c"), "a: b; c.")],
)
def test_a_note_prints_its_lead_and_its_items(lead: str, parts: tuple[str, ...], text: str) -> None:
    assert Note(REMARK, lead, tuple(map(Item, parts))).text == text


def test_parts_of_one_table_are_joined_by_kind_and_lead_and_by_nothing_in_their_texts() -> None:
    a, b, c = Item("a: 1"), Item("b"), Item("c; d: e.")
    few = [Note(FEWER_SEEDS, "few: as said", (a, b)), Note(FEWER_SEEDS, "few: as said", (b, c))]
    resumed, absent = Note(RESUMED, "few: as said", (a,)), [Note(ABSENT, "x: y", (a,)), Note(ABSENT, "x: y", (b,))]
    said = Note(REMARK, "said: once")
    assert merged([few[0], said, absent[0], resumed, few[1], absent[1], said, absent[0]]) == [
        Note(FEWER_SEEDS, "few: as said", (a, b, c)), said, absent[0], resumed, absent[1],
    ]  # fmt: skip


def test_items_say_what_they_are_about(cell: Cell) -> None:
    table = overall(
        cell(seed=0), cell(seed=1), cell("alpha", seed=0, resumed=True), cell("beta", status="failed", reason="no: x")
    )  # fmt: skip
    assert items(table, FEWER_SEEDS) == [Item("Alpha on clicks 1 of 2", ("Alpha",), "clicks")]
    assert items(table, RESUMED) == [Item("Alpha on clicks, seed 0", ("Alpha",), "clicks")]
    assert items(table, ABSENT) == [Item("Beta on clicks, seed 0", ("Beta",), "clicks")]
    (note,) = [note for note in table.notes if note.kind == ABSENT]
    assert (note.lead, note.symbol) == ("failed (no: x)", "—")
    assert note.about("Beta", "clicks")
    assert not note.about("Beta", "films") and not note.about("Bet", "clicks")


def test_a_reason_may_hold_whatever_notes_are_made_of(cell: Cell) -> None:
    reason = "The best learning rate was: 3; or 4: a"
    cells = [
        cell(method, backbone=backbone, status="ok" if method == "keep-all" else "failed", reason=reason)
        for backbone in ("deep", "wide")
        for method in ("keep-all", "alpha")
    ]
    (table,) = adaptability_tables(to_frame(cells), PLAIN)
    assert [note.text for note in table.notes if note.kind == ABSENT] == [
        f"failed ({reason}): Alpha on {backbone}, seed 0." for backbone in ("deep", "wide")
    ]


def explained(run: RunFolder, capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(["explain", str(run.path), "overall", *argv]) == 0
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_explain_shows_the_notes_of_a_number_that_is_missing_and_no_other(
    tmp_path: Path, cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    for record in (
        cell(resumed=True),
        cell("alpha", status="failed", reason="first"),
        cell("alpha", label="alpha[depth=3]", status="failed", reason="second, unlike Alpha"),
        cell("beta"),
        cell(dataset="films"),
        cell("alpha", dataset="films", status="failed", reason="third"),
    ):
        run.write(record)
    assert explained(run, capsys, "clicks", "alpha", "auc")[2:] == ["failed (first): Alpha on clicks, seed 0."]
    needed = "TT on clicks needs the time of Keep-All at seed 0."
    assert explained(run, capsys, "clicks", "beta", "tt_ratio")[2:] == [needed]
    assert needed not in explained(run, capsys, "clicks", "alpha", "auc")


def test_a_flag_is_one_entry(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    short = CellFlag("SHORT", "⋆", "fewer epochs than five", lambda c: f"{c['epochs']:g}" if c["epochs"] < 5 else None)
    monkeypatch.setattr("bench.flags.FLAGS", (*FLAGS, short))
    monkeypatch.setattr("bench.tables.notes.FLAGS", (*FLAGS, short))
    cells = [cell(epochs=9.0, auc=0.8), cell("alpha", epochs=3.0, auc=0.7)]
    table = overall(*cells)
    text = "SHORT, fewer epochs than five: Alpha on clicks, seed 0 (3)."
    assert [note.text for note in table.notes if note.symbol == "⋆"] == [text]
    assert "<u>0.7000</u>⋆ |" in (page := markdown.document([table], "Results")) and f"- ⋆ {text}" in page
    assert rf"$^{{\star}}$ {text}" in (page := latex.document([table])) and r"\rlap{$^{\star}$}" in page
    page = html.page([one.to_dict() for one in cells], [html.Section("Results", [table])], {})
    assert "</a>⋆</td>" in page and f"<li>⋆ {text}</li>" in page
    assert f"⋆ {text}" in terminal_table(to_frame(cells), PLAIN, width=200)


def test_the_chosen_l2_is_named(cell: Callable[..., CellRecord]) -> None:
    penalty = {"parameter": "l2", "grid": [1e-5, 1e-3], "seed": 0, "l2": 1e-3, "trials": []}
    (table,) = overall_tables(to_frame([cell(penalty=penalty), cell("alpha", penalty=penalty)]), Titles())
    texts = [note.text for note in table.notes]
    lead = "L2 for every row, of {1e-05, 0.001} the one with which a model of all fields has the highest validation AUC"
    assert f"{lead}: 0.001, the largest on clicks." in texts
