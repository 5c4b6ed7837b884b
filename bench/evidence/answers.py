"""What a question's places say: one sentence, one table, and the numbers in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.evidence.places import Number, Place, Standing, Verdict, in_words
from bench.evidence.questions import Question
from bench.report.explain import Wanted
from bench.report.formats.markdown import escape, line
from bench.tables.claims import CANNOT, CLAIMED, NOT, REPRODUCED, unrecorded
from bench.tables.metrics import Metric
from bench.tables.model import MISSING, Row, Value
from bench.tables.overall import interval_of
from bench.tables.titles import Titles

__all__ = ["CLAIMS", "Answer", "answer", "paper_numbers"]

CLAIMS = "claims"
"""Table whose answers are verdicts."""


@dataclass(frozen=True)
class Answer:
    """In Markdown, with every number that is printed."""

    sentence: str
    table: list[str]
    numbers: list[Number]


def answer(question: Question, places: Sequence[Place], titles: Titles) -> Answer:
    """What the places say; the sentence is of the first of them, the table of all."""
    if question.table == CLAIMS:
        return _claims(question, places, titles)
    first = places[0]
    reference = first.lot if question.reference == "lot" else question.reference
    methods = [row for row in first.rows if not row.control]
    told: dict[Verdict, list[str]] = defaultdict(list)
    for row in methods:
        told[row.verdict(reference)].append(escape(row.title))
    words: tuple[tuple[Verdict, str], ...] = (("above", question.above), ("below", question.below))
    sides = words if question.better == "higher" else words[::-1]
    parts = [f"{len(told[side]) or 'none'}{in_words(told[side])} {said}" for side, said in sides if said]
    parts += [f"{len(told['open']) or 'none'} {question.open}"] if question.open else []
    sentence = f"{_where(first)}, of {len(methods)} methods {', '.join(parts)}; {_best(question, methods)}."
    return Answer(sentence, _table(places), [*_numbers(places), *_lots(question, places)])


def _where(place: Place) -> str:
    seeds = len(place.group.seeds)
    return (
        f"On {escape(place.title)} ({place.train_rows:,} training and {place.test_rows:,} test rows, "
        f"{seeds} seed{'' if seeds == 1 else 's'})"
    )


def _best(question: Question, methods: Sequence[Standing]) -> str:
    """Those that print the best number, with the interval of the first."""
    if not methods:
        return "there are controls alone"
    end = max if question.better == "higher" else min
    best = end(methods, key=lambda row: row.mean)
    alike = [row for row in methods if row.text == best.text]
    which = "highest" if question.better == "higher" else "lowest"
    if len(alike) > 1:
        return f"the {which} is {best.text}{in_words([escape(row.title) for row in alike])}"
    return f"the {which} is {escape(best.title)} with {best.shown}"


def _table(places: Sequence[Place]) -> list[str]:
    """Methods by places."""
    rows: dict[tuple[str, str], Standing] = {}
    for place in places:
        for row in place.rows:
            rows.setdefault(row.key, row)
    found = [{row.key: row for row in place.rows} for place in places]
    heads = [f"[{escape(place.title)}](reference/{place.run}/)<br>{place.train_rows:,} rows" for place in places]
    lines = [line(["Method", *heads]), line([":--", *("--:" for _ in places)])]
    for key, row in rows.items():
        title = f"*{escape(row.title)}*" if row.control else escape(row.title)
        lines.append(line([title, *(here[key].shown if key in here else MISSING for here in found)]))
    if any(place.lot is not None for place in places):
        lots = [MISSING if place.lot is None else place.metric.text(place.lot) for place in places]
        lines.append(line(["*fields drawn by lot*", *lots]))
    return lines


def _numbers(places: Sequence[Place]) -> list[Number]:
    return [number for place in places for row in place.rows for number in row.numbers]


def _lots(question: Question, places: Sequence[Place]) -> Iterator[Number]:
    for place in places:
        if place.lot is not None:
            label = place.rows[0].key[0]
            yield _number(question, place, label, place.metric, place.metric.text(place.lot))


def _number(question: Question, place: Place, label: str, metric: Metric, text: str) -> Number:
    table = place.table
    wanted = Wanted(question.table, place.group.dataset, label, metric.name, table.backbone, table.tau)
    return Number(question.name, text, place.run, wanted)


def _claims(question: Question, places: Sequence[Place], titles: Titles) -> Answer:
    """Verdicts by row of the paper and by number."""
    numbers: list[Number] = []
    lines = [
        line(["Less", *(text for ours, _, _ in CLAIMED for text in (ours.title, "paper", "claim"))]),
        line([":--", *("--:" for _ in CLAIMED for _ in range(3))]),
    ]
    told: dict[str, list[str]] = defaultdict(list)
    for place in places:
        lines.append(line([f"*[{escape(place.title)}](reference/{place.run}/)*", *("" for _ in range(9))]))
        for row in place.table.rows:
            cells = []
            for ours, paper, claim in CLAIMED:
                shown, printed, verdict = (_value(place, row, metric) for metric in (ours, paper, claim))
                texts = _with_ends(ours, shown)
                cells += [texts[0] if len(texts) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"]
                cells += [printed.text, verdict.text if verdict.text == CANNOT else f"**{verdict.text}**"]
                told[verdict.text].append(f"{ours.title} against {escape(row.title)} on {escape(place.short)}")
                numbers += [_number(question, place, row.label, ours, text) for text in texts if text != MISSING]
                numbers.append(_number(question, place, row.label, paper, printed.text))
            lines.append(line([escape(row.title), *cells]))
    return Answer(_verdicts(question, places, told, titles), lines, numbers)


def paper_numbers(place: Place) -> dict[str, float]:
    """What the paper prints of the place's metric, by label of the row."""
    paper = next(paper for ours, paper, _ in CLAIMED if ours.name == place.metric.name)
    values = {row.label: _value(place, row, paper).mean for row in place.table.rows}
    return {label: mean for label, mean in values.items() if mean is not None}


def _value(place: Place, row: Row, metric: Metric) -> Value:
    return row.values[place.table.columns.index((place.group, metric))]


def _with_ends(metric: Metric, value: Value) -> list[str]:
    ends = interval_of(value)
    return [value.text, *(metric.text(end, like=value.mean) for end in ends or ())]


def _verdicts(question: Question, places: Sequence[Place], told: dict[str, list[str]], titles: Titles) -> str:
    count = sum(map(len, told.values()))
    parts = [
        f"{len(told[REPRODUCED])} are reproduced{in_words(told[REPRODUCED])}",
        f"{len(told[NOT])} go the other way{in_words(told[NOT])}",
        f"{len(told[CANNOT])} cannot be told",
    ]
    first, (ours, paper, _) = places[0], CLAIMED[0]
    row = first.table.rows[0]
    low_high = _with_ends(ours, _value(first, row, ours))
    shown = low_high[0] if len(low_high) == 1 else f"{low_high[0]} ({low_high[1]} to {low_high[2]})"
    lead = (
        f"{_where(first)}, {ours.title} less that of {escape(row.title)} is {shown}, where the paper prints "
        f"{_value(first, row, paper).text}; of the {count} claims that have a record, {', '.join(parts)}"
    )
    lost = [f"{titles.dataset(dataset)} with {titles.backbone(net)}" for dataset, net in _lost(places)]
    return f"{lead}. Nothing is recorded of {', '.join(map(escape, lost))}." if lost else f"{lead}."


def _lost(places: Sequence[Place]) -> list[tuple[str, str]]:
    return unrecorded([place.table for place in places])
