"""A forecast as text: its table, and the notes that say what the times rest on."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence

import torch
from tabulate import tabulate

from bench.run.forecast import Forecast, total
from bench.run.progress import duration

__all__ = ["forecast_table"]

BUSY = 0.75
"""Share of the time at work below which a calibration says that the machine is busy."""
_WIDTH = 120
"""Letters of a line of notes."""
_PARTS = {2: "half", 3: "third"}


def forecast_table(found: Sequence[Forecast], at_once: int = 1) -> str:
    """Times as text, what they rest on, and what could not be calibrated; ``at_once`` cells run side by side."""
    headers = ["data set", "backbone", "epoch", "cells left", "epochs", "time"]
    lines = [
        [
            one.pace.size.cell.dataset,
            one.pace.size.cell.backbone,
            "—" if one.pace.epoch_s is None else f"{one.pace.epoch_s:,.2f} s",
            f"{one.cells} + {one.trials} trials" if one.trials else one.cells,
            f"{_span_text(*(f'{end:g}' for end in one.epochs))} ({one.basis})",
            "—" if one.seconds is None else _span_text(*map(duration, one.seconds)),
        ]
        for one in found
    ]
    whole = total(found, at_once)
    notes = [
        *_skip_lines(found),
        *_timing_lines(found),
        f"The whole run: {'not known' if whole is None else _span_text(*map(duration, whole))}, its report included.",
        "epochs: of a training with all fields. time: searches, trainings, validation, evaluation and trials; rankings "
        "that\ncells share count once. Methods cost what cells of this folder took, or what their entries declare in "
        "such trainings.",
        *_side_by_side(at_once),
        *_of_one_process(found),
        *(f"{one.pace.size.name}: {one.pace.reason}." for one in found if one.pace.reason),
        *(
            f"{one.pace.size.name}: calibrated on a busy machine, at work {one.pace.share:.0%} of the time; the range "
            f"holds if it stays as busy."
            for one in found
            if one.pace.share < BUSY
        ),
    ]
    return "\n".join([tabulate(lines, headers, disable_numparse=True), "", *notes])


def _side_by_side(at_once: int) -> list[str]:
    """How the times of cells make that of the run, where several run at once."""
    if at_once == 1:
        return []
    part = _PARTS.get(at_once, f"{at_once}th")
    return [
        f"Times are of one cell after another; with {at_once} at a time the whole run takes from a {part} of them to "
        "as long:\non one machine cells share cores and memory bandwidth."
    ]


def _of_one_process(found: Sequence[Forecast]) -> list[str]:
    """Which times say nothing of the workers that cells will have: a gain that was not measured is not promised."""
    workers = max((one.pace.size.workers for one in found), default=1)
    if workers == 1:
        return []
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for one in found:
        places[one.unmeasured].append(one.pace.size.name)
    threads = torch.get_num_threads()
    return [
        _filled(
            f"{'; '.join(places[labels])}: times of {', '.join(labels)} are reckoned for one process with {threads} "
            f"thread{'s' if threads > 1 else ''}: this folder has no cell of theirs that {workers} workers computed on "
            "this machine with this run's threads, and what they would gain or lose was not measured."
        )
        for labels in filter(None, places)
    ]


def _filled(text: str) -> str:
    """A note in lines."""
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _skip_lines(found: Sequence[Forecast]) -> list[str]:
    """How many cells will be skipped, and an entry for every reason and place."""
    entries: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in found:
        for cell, reason in one.skips.items():
            entries[f"{cell.dataset}, {cell.backbone}", reason].append(cell.method)
    if not entries:
        return []
    number = sum(map(len, entries.values()))
    many = f"{number:,} cells will be skipped, and count" if number > 1 else "1 cell will be skipped, and counts"
    return [f"{many} nowhere above:", *(_skip_line(*key, labels) for key, labels in entries.items())]


def _skip_line(place: str, reason: str, labels: Sequence[str]) -> str:
    many = f" ({len(labels)} cells)" if len(labels) > 1 else ""
    return _filled(f"- {place}, {', '.join(dict.fromkeys(labels))}{many}: {reason}")


def _timing_lines(found: Sequence[Forecast]) -> list[str]:
    """What the timing pass takes; nothing without one."""
    number, parts = sum(one.repeats for one in found), [one.timing for one in found if one.repeats]
    if not number:
        return []
    known = [part for part in parts if part is not None]
    ends = [duration(sum(part[end] for part in known)) for end in (0, 1)]
    return [
        f"The timing pass: {number} repeats of whole cells, each in a process of its own, "
        f"{_span_text(*ends) if len(known) == len(parts) else 'not known'}, on an idle machine."
    ]


def _span_text(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
