"""Cards of one's own through the whole command line: names, titles, folders."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

CARD = """
name = "{name}"
[raw]
files = ["clicks.csv"]
[raw.columns]
y = "label"
c = "categorical"
d = "categorical"
"""
RUN = (
    *("--methods", "no-selection", "cardinality", "--backbones", "dnn[mlp=4]", "--seeds", "1", "--epochs", "1"),
    *("--set", "l2=1e-5"),  # given, so that none need be chosen first
)


def make_card(folder: str, name: str = "clicks", head: str = "") -> str:
    """A card in ``folder``, and 200 rows beside it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "clicks.toml").write_text(head + CARD.format(name=name))
    rows = "".join(f"{i % 2},{i % 3},{i % 7}\n" for i in range(200))
    Path(folder, "clicks.csv").write_text(f"y,c,d\n{rows}")
    return f"{folder}/clicks.toml"


def test_two_cards_of_one_name_are_refused_and_one_typed_twice_counts_once(bench):
    first, second = make_card("a"), make_card("b")
    assert bench("prepare", first, "--raw", "a/clicks.csv").code == 0
    for other in (second, f"{second}[min_count=2]"):
        refused = bench("run", "--datasets", first, other, *RUN, "--out", "r")
        assert refused.code == 2
        assert "the cards a/clicks.toml and b/clicks.toml both have name = 'clicks'" in refused.err
        assert "give one of them another name" in refused.err
        assert not Path("r").exists()
    Path("link.toml").symlink_to(first)
    assert bench("run", "--datasets", first, "./a/clicks.toml", "link.toml", *RUN, "--out", "r").code == 0
    assert len(list(Path("r/cells").iterdir())) == 2


TITLE = r"50% of Müller & Søn_s \"clicks\" <b>#1</b> $5 \\x|y"
SHOWN = r'50% of Müller & Søn_s "clicks" <b>#1</b> $5 \x|y'


@pytest.mark.figures
def test_the_title_of_a_card_is_shown_wherever_a_registered_one_is(bench):
    card = make_card("a", head=f'title = "{TITLE}"')
    assert bench("prepare", card, "--raw", "a/clicks.csv").code == 0
    done = bench("run", "--datasets", card, *RUN, "--out", "r")
    assert (done.code, SHOWN in done.out) == (0, True)
    assert SHOWN in bench("list", "datasets").out
    assert SHOWN in bench("explain", "r", "table2", "clicks", "cardinality", "auc").out
    latex = r"50\% of Müller \& Søn\_s ''clicks'' \textless{}b\textgreater{}\#1\textless{}/b\textgreater{} \$5 "
    assert latex + r"\textbackslash{}x\textbar{}y" in Path("r/tables/overall.tex").read_text()
    markdown = r"50% of Müller &amp; Søn\_s \"clicks\" &lt;b&gt;\#1&lt;/b&gt; $5 \\x\|y".replace(r"\"", '"')
    for name in ("overall", "table1", "efficiency"):
        assert markdown in Path(f"r/tables/{name}.md").read_text()
    page = Path("r/report.html").read_text()
    assert "50% of Müller &amp; Søn_s &quot;clicks&quot; &lt;b&gt;#1&lt;/b&gt; $5 \\x|y" in page
    assert "<b>#1</b>" not in page
    assert "Training time: 50% of Müller &amp;" in Path("r/figures/cost-clicks-dnn-mlp=4.svg").read_text()


def test_a_title_that_changes_computes_nothing_again(bench):
    card = make_card("a")
    assert bench("prepare", card, "--raw", "a/clicks.csv").code == 0
    assert bench("run", "--datasets", card, *RUN, "--out", "r").code == 0
    old = {path.name: json.loads(path.read_text()) for path in Path("r/cells").iterdir()}
    assert {record["dataset_title"] for record in old.values()} == {"clicks"}
    make_card("a", head='title = "Clicks of May"')
    done = bench("run", "--datasets", card, *RUN, "--out", "r")
    assert (done.code, "Clicks of May" in done.out) == (0, True)
    new = {path.name: json.loads(path.read_text()) for path in Path("r/cells").iterdir()}
    assert new == {name: record | {"dataset_title": "Clicks of May"} for name, record in old.items()}


def test_data_sets_of_one_title_are_told_apart_by_name(bench):
    cards = [make_card(name, name, 'title = "Clicks"') for name in ("may", "june")]
    for card in cards:
        assert bench("prepare", card, "--raw", card.replace("toml", "csv")).code == 0
    done = bench("run", "--datasets", *cards, f"{cards[0]}[min_count=2]", *RUN, "--out", "r")
    assert done.code == 2 and "may/clicks.toml[min_count=2]' --raw" in done.err
    assert bench("prepare", f"{cards[0]}[min_count=2]", "--raw", "may/clicks.csv").code == 0
    assert bench("run", "--datasets", *cards, f"{cards[0]}[min_count=2]", *RUN, "--out", "r").code == 0
    rows = Path("r/tables/table1.md").read_text().splitlines()
    assert [row.split(" | ")[0] for row in rows if row.startswith("| ")][2:] == [
        "| june", "| may", r"| Clicks \[min\_count=2\]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "name", "part"),
    [
        ('title = "a\\nb"', "clicks", "title = 'a\\nb' must be one line without control characters"),
        ("", "n" * 240, "name = 'nnnnnnnnnnnnnnnnnnnn…' has 240 bytes, and files are named after it; choose one of"),
        ("", "点" * 34, "has 102 bytes"),
    ],
)
def test_a_name_or_title_that_no_file_or_line_can_bear_is_refused_when_the_card_is_read(bench, head, name, part):
    refused = bench("prepare", make_card("a", name, head), "--raw", "a/clicks.csv")
    assert refused.code == 2 and part in refused.err


@pytest.mark.figures
def test_long_names_of_cards_columns_and_methods_reach_the_end_of_a_report(bench):
    name, column, other = "n" * 100, "c" * 240, "字" * 240
    card = make_card("a", name, f'title = "{"t" * 240}"')
    text = Path(card).read_text().replace("c = ", f"{column} = ").replace("d = ", f'"{other}" = ')
    Path(card).write_text(text)
    raw = Path("a/clicks.csv")
    raw.write_text(raw.read_text().replace("y,c,d", f"y,{column},{other}"))
    spec = f"{card}[min_count=2,split_seed=7]"
    assert bench("prepare", spec, "--raw", str(raw)).code == 0
    methods = ("no-selection", "random-k", "xgboost[rounds=3]", "xgboost[rounds=4]")
    flags = (
        "--backbones",
        f"dnn[mlp={'-'.join('4' * 28)},dropout=0]",
        *RUN[-4:],
    )
    done = bench("run", "--datasets", spec, "--methods", *methods, *flags, "--seeds", "1", "--out", "r")
    assert done.code == 0, done.err
    files = [path for path in Path("r").rglob("*") if path.is_file()]
    assert max(len(path.name.encode()) for path in files) <= 200
    assert any(path.name.startswith(f"importance-{name}") for path in files)


@pytest.mark.parametrize("flag", ["--out", "--data-dir"])
def test_a_folder_name_that_is_too_long_is_refused_before_anything_is_computed(bench, flag):
    for flags in (("run", *RUN, flag, "x" * 300), ("prepare", "planted", "--data-dir", "x" * 300)):
        refused = bench(*flags)
        assert refused.code == 2 and refused.err.count("\n") == 1
        assert "xxx…: a name of 300 bytes is too long for a file here; choose a shorter one." in refused.err


@pytest.mark.slow
def test_folders_with_brackets_in_their_names_are_folders(bench, monkeypatch):
    """Every path flag, and the working directory, where a bracket opens neither parameters nor a pattern."""
    card = make_card("exp[v=1]")
    Path("exp[v=1]/data/.clicks.dead.tmp").mkdir(parents=True)  # what a killed run has left
    data = ("--data-dir", "exp[v=1]/data")
    assert bench("prepare", card, "--raw", "exp[v=1]/clicks.csv", *data).out.startswith(
        "exp[v=1]/data/clicks: 200 rows"
    )
    assert bench("prepare", card, "--raw", "exp[v=1]", *data).code == 0
    assert [path.name for path in Path("exp[v=1]/data").iterdir()] == ["clicks"]
    spec = f"{card}[min_count=2]"
    missing = bench("run", "--datasets", spec, *data, *RUN)
    assert "python -m bench prepare 'exp[v=1]/clicks.toml[min_count=2]' --raw PATH" in missing.err
    assert bench("prepare", spec, "--raw", "exp[v=1]", *data).code == 0
    out = "results/exp[v=1]"
    done = bench("run", "--datasets", card, spec, *data, *RUN, "--out", out, "--split", "random")
    assert done.code == 0, done.err
    assert bench("run", "--config", f"{out}/run.toml").code == 0
    assert bench("report", out).code == 0
    assert "seed 0" in bench("explain", out, "table2", "clicks[min_count=2]", "cardinality", "auc").out
    listed = bench("list", "--runs", "results", "--data-dir", "exp[v=1]/data").out
    assert f"{out}  4 cells" in listed and "clicks: prepared" in listed
    monkeypatch.chdir("exp[v=1]")
    assert bench("prepare", "clicks.toml", "--raw", ".", "--force").code == 0
    assert bench("run", "--datasets", "clicks.toml", *RUN, "--out", "r").code == 0
    assert sorted(path.name for path in Path("r/cells").iterdir())


def test_a_card_and_a_table_may_have_brackets_in_their_own_names(bench):
    card = make_card("a").replace("clicks.toml", "clicks[1].toml")
    text = Path("a/clicks.toml").read_text().replace('"clicks.csv"', '"part[1].csv"')
    Path(card).write_text(text)
    Path("a/clicks.csv").rename("a/part[1].csv")
    assert bench("prepare", card, "--raw", "a").out.startswith("data/clicks: 200 rows")


def test_an_out_that_is_no_folder_is_refused_before_anything_is_computed(bench):
    Path("file.txt").write_text("mine")
    reasons = {"file.txt": "something else is there already", "file.txt/run": "a part of the path is a file"}
    for out, reason in reasons.items():
        refused = bench("run", "--datasets", "planted[rows=500]", *RUN, "--out", out)
        assert refused.code == 2
        assert refused.err.startswith(f"error: {out}: {reason}") and "choose another folder." in refused.err
    assert Path("file.txt").read_text() == "mine"


TABLES = {
    "clicks.csv": 'user,click,"a ""b"", c"\n' + "".join(f"u{i % 7},{i % 2},{i % 3}\n" for i in range(60)),
    "my table.v2.tsv": "user\tY\tü\n" + "".join(f"u{i % 7}\t{i % 2}\t{i % 3}\n" for i in range(60)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_a_card_is_answered_with_the_beginning_of_one(bench, name):
    Path(name).write_text(TABLES[name], encoding="utf-8")
    answer = bench("prepare", name)
    assert answer.code == 2
    assert f"{name} is a table, and a data set is named by its card" in answer.err
    command, _, card = answer.err.partition("\n\n")
    _, *argv = shlex.split(command.partition("python -m bench ")[2])
    Path(argv[0]).write_text(card, encoding="utf-8")
    made = bench("prepare", *argv)
    assert made.out.startswith(f"data/{'clicks' if name == 'clicks.csv' else 'my-table'}: 60 rows"), made.err
    assert "2 fields" in made.out
    assert f"named by its card: {argv[0]}" in bench("run", "--datasets", name, "--methods", "no-selection").err


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a,b\n1,2\n", '# write "label" at the column'),
        (b"PAR1\x00\x01\n", 'clicked = "label"'),
        (b"", 'clicked = "label"'),
        (b"a,a\n1,2\n", 'clicked = "label"'),
        (",".join(f"c{i}" for i in range(50)).encode() + b"\n", "# … and 10 more"),
    ],
)
def test_the_beginning_of_a_card_says_what_it_cannot_know(bench, data, shown):
    Path("t").write_bytes(data)
    answer = bench("prepare", "./t")
    assert answer.code == 2
    assert shown in answer.err


def test_data_prepared_from_a_card_of_ones_own_are_listed(bench):
    Path("mine.toml").write_text('name = "mine"\ntitle = "My clicks"\n[raw.columns]\ny = "label"\nc = "categorical"\n')
    Path("t.csv").write_text("y,c\n" + "1,a\n0,b\n" * 30)
    assert bench("prepare", "mine.toml", "--raw", "t.csv").code == 0
    lines = bench("list", "datasets").out.splitlines()
    assert [line.split("  ")[-1] for line in lines if line.strip().startswith("mine ")] == [
        "My clicks: prepared, from a card of your own"
    ]
