"""``data describe``."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from cell_records import TINY
from test_own_cards import make_card

from bench.cli import main


def test_the_fields_of_a_data_set_are_shown_and_written(bench, data_dir):
    shown = bench("data", "describe", TINY, "--data-dir", str(data_dir), "--csv", "facts.csv")
    assert shown.code == 0
    rows = list(csv.DictReader(Path("facts.csv").read_text().splitlines()))
    assert [row["field"] for row in rows] == [f"f0{i}" for i in range(8)]
    assert all(f"\n{row['field']} " in shown.out for row in rows)
    assert shown.out.startswith("Fields of Planted [")
    assert "on all 960 training rows" in " ".join(shown.out.split())
    fewer = bench("data", "describe", TINY, "--data-dir", str(data_dir), "--rows", "600")
    assert "on all 480 training rows" in " ".join(fewer.out.split())


def test_a_card_of_one_s_own_is_known_by_its_path_and_its_twins_are_named(bench):
    card = make_card("mine")
    table = Path("mine/clicks.csv").read_text().splitlines()
    twice = [f"{line},{line.split(',')[1]}" for line in table]
    Path("mine/clicks.csv").write_text("\n".join([f"{table[0]},e", *twice[1:]]))
    Path(card).write_text(f'{Path(card).read_text()}e = "categorical"\n')
    assert bench("prepare", card, "--raw", "mine/clicks.csv").code == 0
    shown = bench("data", "describe", card)
    assert "One-to-one, so that any one of them says all: c and e." in shown.out
    assert Path("data/clicks/fields.json").is_file()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("plantd",), "'planted'"),
        (("planted",), "is not prepared"),
        (("nothing.toml",), "nothing.toml"),
        ((TINY, "--rows", "3"), "too few rows"),
    ],
)
def test_what_cannot_be_described_is_refused(bench, data_dir, argv, message):
    refused = bench("data", "describe", *argv, *(("--data-dir", str(data_dir)) if argv != ("planted",) else ()))
    assert refused.code == 2
    assert message in refused.err
    assert list(Path.cwd().iterdir()) == []


def test_a_csv_that_cannot_be_written_is_said(bench, data_dir, tmp_path):
    (tmp_path / "file").write_text("")
    refused = bench("data", "describe", TINY, "--data-dir", str(data_dir), "--csv", str(tmp_path / "file" / "x.csv"))
    assert refused.code == 2
    assert f"{tmp_path / 'file'}: something else is there already" in refused.err


def test_the_help_needs_no_data(capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", "describe", "--help"])
    assert end.value.code == 0
    assert "NAME|CARD" in capsys.readouterr().out
