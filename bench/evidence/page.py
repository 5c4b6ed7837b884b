"""The results page: a figure, a table and a sentence a question, and where every number comes from."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import ConfigError
from bench.evidence.answers import CLAIMS, answer, paper_numbers
from bench.evidence.places import Number, Place, places_of
from bench.evidence.questions import FILE, Question, read_questions
from bench.records import RunFolder
from bench.report.explain import Explainer
from bench.report.formats.markdown import escape, line
from bench.tables.titles import Titles
from plots import intervals, style

__all__ = ["COMMAND", "NUMBERS", "PAGE", "RUNS", "Page", "make_page", "recorded_runs"]

PAGE, NUMBERS, RUNS = "README.md", "numbers.csv", "reference"
"""Files of the folder, and the folder of the runs in it."""
COMMAND = "python -m bench evidence"
_HEAD = """# Results

Written by `{command}` from the [recorded runs](reference/README.md) and [`{questions}`]({questions}); a test
holds it to them. [`{numbers}`]({numbers}) has of every number below the `python -m bench explain` that leads to its
cells, settings and command. What a run folder holds is [told elsewhere](RUNS.md), and so is
[what the paper prints](paper/README.md).

**How to read it.** Numbers are means over seeds; behind them stand 95 % intervals: Student's over seeds, paired where
two rows are compared, for the likeness of selections the asymptotic one. They count seeds, not test rows: with other
test rows all would move, the more the fewer there are. They are not corrected for how many there are, so that of twenty
true nulls one is expected to look like something. Where there is no interval the number is the same at every seed, or
is of one seed; likeness of selections counts as open then. Rows in *italics* are controls; a dash is what a run has no
number of. Places stand by their number of test rows; sentences and figures are of the first. Names in brackets after a
method are parameters.
"""


@dataclass(frozen=True)
class Page:
    """Contents by path within the folder, and what the numbers are traced by."""

    files: Mapping[str, bytes]
    numbers: Sequence[Number] = field(default_factory=list)


def recorded_runs(folder: Path) -> dict[str, Explainer]:
    """The runs of a folder by name.

    Raises:
        ConfigError: there are none.
        DataError: a record cannot be read.
    """
    found = {file.parent.name: Explainer(RunFolder(file.parent)) for file in sorted((folder / RUNS).glob("*/run.toml"))}
    if not found:
        raise ConfigError(
            f"{folder / RUNS} holds no recorded run: copy run.toml and cells/ of a run folder there, in a folder of "
            "its own."
        )
    return found


def make_page(folder: Path, runs: Mapping[str, Explainer] | None = None) -> Page:
    """The page of a folder with ``questions.toml`` and runs; nothing is written.

    Raises:
        ConfigError: there are no runs, or the questions cannot be read or name what is not there.
        DataError: a record cannot be read.
    """
    questions = read_questions(folder / FILE)
    runs = recorded_runs(folder) if runs is None else runs
    titles = Titles.registered()
    lines = [_HEAD.format(command=COMMAND, questions=FILE, numbers=NUMBERS), *_recorded(runs), ""]
    files: dict[str, bytes] = {}
    numbers: list[Number] = []
    for question in questions:
        places = places_of(question, runs, titles)
        lines += [f"## {escape(question.title)}", ""]
        if not places:
            lines += ["No recorded run says anything to this.", ""]
            continue
        found, name = answer(question, places, titles), f"figures/{question.name}.svg"
        files[name] = style.render(_figure(question, places[0]))[".svg"]
        numbers += found.numbers
        lines += [found.sentence, "", f"![{escape(question.title)}]({name})", "", *found.table, ""]
        lines += [f"**Limits.** {question.limit}", ""] if question.limit else []
    files = {PAGE: "\n".join(lines).encode(), NUMBERS: _listed(numbers).encode(), **files}
    return Page(files, numbers)


def _recorded(runs: Mapping[str, Explainer]) -> Iterator[str]:
    """What there is, a line a run and data set."""
    yield line(["Run", "Data", "Backbones", "Rows: training, validation, test", "Seeds", "Cells"])
    yield line([":--", ":--", ":--", "--:", "--:", "--:"])
    for name, run in runs.items():
        places: dict[tuple[str, tuple[int, ...]], tuple[set[str], set[int], list[str]]] = {}
        for record in run.run.records():
            rows = tuple(record.split_rows.values())
            nets, seeds, cells = places.setdefault((record.dataset, rows), (set(), set(), []))
            nets.add(record.backbone)
            seeds.add(record.seed)
            cells.append(record.config_hash)
        for (dataset, rows), (nets, seeds, cells) in sorted(places.items()):
            shown = ", ".join(f"{count:,}" for count in rows)
            link = f"[{name}](reference/{name}/)"
            yield line([link, escape(dataset), ", ".join(sorted(nets)), shown, str(len(seeds)), str(len(cells))])


def _figure(question: Question, place: Place) -> intervals.Figure:
    printed = paper_numbers(place) if question.table == CLAIMS else {}
    bars = [
        intervals.Bar(row.title, row.mean, low, high, row.control, printed.get(row.key[0]))
        for row in sorted(place.rows, key=lambda row: row.mean, reverse=question.better == "higher")
        for low, high in [(row.low, row.high) if row.ends else (row.mean, row.mean)]
    ]
    reference = place.lot if question.reference == "lot" else question.reference
    if question.table == CLAIMS:
        reference = 0.0
    label = f"{place.table.title}: {place.metric.title}" if question.table == CLAIMS else place.metric.title
    return intervals.draw(f"{question.title} {place.title}", bars, label, reference)


def _listed(numbers: Sequence[Number]) -> str:
    """Question, number and the command that explains it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("question", "number", "command"))
    writer.writerows(dict.fromkeys((one.question, one.text, _command(one)) for one in numbers))
    return text.getvalue()


def _command(number: Number) -> str:
    wanted = number.wanted
    words = [f"results/{RUNS}/{number.run}", wanted.table, wanted.dataset, wanted.method, wanted.metric]
    words += [] if wanted.backbone is None else ["--backbone", wanted.backbone]
    words += [] if wanted.tau is None else ["--tau", f"{wanted.tau:g}"]
    return f"python -m bench explain {shlex.join(words)}"
