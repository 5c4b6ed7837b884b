"""One cell: select, train, evaluate on the test split, record.

The only broad ``except`` of a run is here.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from bench import environment
from bench.engine.arithmetic import matmul_precision
from bench.engine.clock import Clock
from bench.engine.crew import divides, leads
from bench.engine.evaluate import evaluate_finite, predict
from bench.engine.model import CTRModel
from bench.engine.threads import as_many_as_torch
from bench.errors import StorageError
from bench.files import read_text, write_atomically
from bench.flags import LEARNED_ROWS, flags_of
from bench.method import Method, Selection, Trained
from bench.records import CellRecord, Status, plain
from bench.rows.residency import settle
from bench.rows.rows import Rows, stratified_sample
from bench.run.choice import NoRankingError, choose
from bench.run.columns import (
    Chosen,
    peak_memory,
    prediction_columns,
    quality_columns,
    recovery_columns,
    selection_columns,
    size_columns,
    time_columns,
)
from bench.run.context import CellContext, silent
from bench.run.job import Job
from bench.run.line import beside_line
from bench.run.selections import is_plain, is_shared, shared_key
from bench.run.skips import why_skipped
from bench.run.together import read_once, select_once
from bench.run.weights import check_weights, weight_columns
from bench.seeds import generator

HOLDOUT_SHARE = 0.1
"""Share of the training split that a selection may be checked on."""
WARM_UP_STEPS = 20
TIMED_ONCE: dict[str, Any] = {"repeats": 1, "at_least_s": 0.0, "calls": 1}
CIRCUMSTANCES = "circumstances.json"
"""File among a cell's checkpoints: where the cell was begun and gone on with."""
_TIMES = {"select": "pt", "train": "ct", "evaluate": "it"}
"""What a disturbed phase makes useless."""
_DISTURBED = "disturbed"
"""Under which a shared ranking's notes keep how its computation was disturbed."""

T = TypeVar("T")
Work = Callable[[Job, Method[Any], CellContext[Any], Clock], dict[str, Any]]
"""What is done with a method that fits its setting; returns what it found out."""


def run_cell(job: Job) -> CellRecord:
    """Run one cell and describe it; whatever goes wrong becomes the record's status and reason.

    Raises:
        StorageError: a file of the run folder cannot be written, read or trusted.
    """
    return replace(job.record(), **attempt(job, _measure))


def train_again(job: Job) -> tuple[CTRModel | None, dict[str, Any]]:
    """Train the cell of ``job`` for its model, and say what that scores on the test split.

    Returns:
        the model, on the job's device and in eval mode, and ``auc`` and ``logloss``; or None, and ``status`` and
        ``reason`` of what went wrong.
    """
    models: list[CTRModel] = []

    def work(job: Job, method: Method[Any], ctx: CellContext[Any], clock: Clock) -> dict[str, Any]:
        _, trained = select_and_train(job, method, ctx, clock)
        quality = evaluate_finite(trained.model, settle(job.data.test), "test")
        models.append(trained.model.eval())
        return {"auc": quality.auc, "logloss": quality.logloss}

    found = attempt(job, work)
    return (models[0] if models else None), found


def run_selection(job: Job) -> dict[str, Any]:
    """Select as the cell would, without test rows, and train nothing.

    Returns:
        ``status`` and, where it is ok, ``scores`` [F] or None; else ``reason``.

    Raises:
        StorageError: as of ``run_cell``.
    """
    return attempt(replace(job, data=job.data.without_test()), _rank)


def attempt(job: Job, work: Work) -> dict[str, Any]:
    """What ``work`` finds out, or status, reason and traceback of what went wrong."""
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    try:
        with matmul_precision(job.profile.precision):
            found = _run(job, work)
        json.dumps(plain(found))  # a note that JSON cannot hold fails its cell here, not the run later
        return found
    except StorageError:  # a full disk or a planted checkpoint is not the method's failure: the run ends with it
        raise
    except NoRankingError as nothing:  # it would be the same again
        return {"status": "skipped", "reason": str(nothing)}
    except (Exception, SystemExit) as error:  # a failing cell must not stop the others
        return {"status": _status(error), "reason": _one_line(error), "traceback": _relative(traceback.format_exc())}


def _run(job: Job, work: Work) -> dict[str, Any]:
    if broken := job.method.error or job.backbone.error:
        reason = _relative(broken.strip().splitlines()[-1])
        return {"status": "failed", "reason": reason, "traceback": _relative(broken)}
    method = job.method.make()
    clock = Clock(job.device)
    ctx = job.context(clock)
    if skip := why_skipped(job, method, ctx):
        return {"status": "skipped", "reason": skip}
    elsewhere = _begun_elsewhere(job)
    if job.data.warning is not None:
        job.emit({"event": "warning", "text": job.data.warning})
    found = work(job, method, ctx, clock)
    if elsewhere and ctx.resumed:
        found.setdefault("notes", {})["begun_elsewhere"] = elsewhere
    return {"status": "ok", **found}


def _begun_elsewhere(job: Job) -> list[str]:
    """In what machine or threads differ from where the cell's checkpoints were made; notes where it goes on now.

    Raises:
        StorageError: that note cannot be read.
    """
    if job.checkpoints is None:
        return []
    record, file = job.record(), job.checkpoints / CIRCUMSTANCES
    here = {"host": plain(record.host), "device": record.device, "threads": record.threads}
    try:
        before = json.loads(read_text(file) or "[]")
        found = dict.fromkeys(text for one in before for text in environment.unlike(one, here))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StorageError(f"{file} is damaged. Delete the folder {file.parent.name}; the cell begins anew.") from None
    if here not in before:
        with write_atomically(file) as out:
            json.dump([*before, here], out)
    return list(found)


@divides
def select_and_train(job: Job, method: Method[Any], ctx: CellContext[Any], clock: Clock) -> tuple[Chosen, Trained]:
    """Select and train by the clock; where the cell has several workers, together with the others."""
    with clock.phase("warm-up"):
        _warm_up(job)
    chosen = _select(job, method, ctx, clock)
    with clock.phase("train"):
        train = job.data.train
        if chosen.selection.used_rows is not None:
            train = train.without(chosen.selection.used_rows)
        _warn_of_learned_rows(job, ctx, chosen.selection)
        trained = method.train(ctx, train, job.data.valid, chosen.selection)
        trained = _returned(trained, Trained, "train")
    check_weights(trained.model, chosen.selection, ctx)
    return chosen, trained


def _returned(value: T, kind: type[T], hook: str) -> T:
    """What a hook of a method returned, if it is of the kind that it has to be."""
    if not isinstance(value, kind):
        raise TypeError(f"{hook} returned {type(value).__name__}; wanted {kind.__name__}(...)")
    return value


def _warn_of_learned_rows(job: Job, ctx: CellContext[Any], selection: Selection) -> None:
    """Early stopping sees no overfitting on rows that something of the model has learned."""
    if selection.used_rows is None:
        return
    both = int(torch.isin(job.data.valid.index, selection.used_rows.to(job.data.valid.index.device)).sum())
    if both:
        ctx.log(**{LEARNED_ROWS: both})
        text = (
            f"{job.method.label}: its gates, or what it selects by, learned on {both:,} validation rows, which say "
            "when to stop and which weights are best too: its validation AUC is too high and it may stop late; "
            "sel_split=train learns on a holdout of the training rows"
        )
        job.emit({"event": "warning", "text": text})


def _rank(job: Job, method: Method[Any], ctx: CellContext[Any], clock: Clock) -> dict[str, Any]:
    """Select; what trains a model to select pays for no start-up, so that its time can be charged to cells."""
    if "backbone" in method.axes():
        with clock.phase("warm-up"):
            _warm_up(job)
    return {"scores": _select(job, method, ctx, clock).selection.scores}


def _measure(job: Job, method: Method[Any], ctx: CellContext[Any], clock: Clock) -> dict[str, Any]:
    """Train, evaluate on the test split, and gather the columns of the record."""
    chosen, trained = select_and_train(job, method, ctx, clock)
    job.emit({"event": "phase", "phase": "evaluate"})
    clocking = TIMED_ONCE if job.timed_once else {}
    with clock.phase("evaluate"):
        columns, logits = quality_columns(trained.model, job.data.test, **clocking)
        memory = peak_memory(job.device, job.own_process)  # before a masked table stands beside itself in CSR
        masked = weight_columns(trained.model, job.data.test, **clocking)
    if job.method.entry.family == "baseline" and job.lines is not None:
        columns["line"] = beside_line(trained.model, job.data, job.lines)
    scores = trained.scores if chosen.selection.scores is None else chosen.selection.scores
    scores = None if scores is None else np.asarray(scores, dtype=np.float64)
    kept = chosen.selection.kept_fields(job.data.schema.n_fields)
    columns |= selection_columns(job.data, chosen, scores)
    columns["selection"] |= method.columns(trained.model, chosen.selection) | masked.pop("selection", {})
    columns |= masked
    columns |= {"recovery": recovery_columns(job.data, kept, scores, columns["auc"])}
    columns |= size_columns(trained.model, job.data.test)
    columns |= time_columns(clock, chosen, trained.log) | {"disturbed": _disturbed(clock, chosen.selection)}
    notes = {**chosen.selection.notes, **ctx.notes}
    if execution := chosen.selection.notes.get("execution", {}) | ctx.notes.get("execution", {}):
        notes["execution"] = execution  # of the fits of both phases
    columns["gates"] = chosen.selection.gates if trained.log is None or trained.log.gates is None else trained.log.gates
    if chosen.selection.pretrain_rows is not None:
        notes["pretrain_rows"] = chosen.selection.pretrain_rows
    told = {"positives": job.data.positives, "split_rows": job.data.split_rows, "order": job.order_told}
    if flags := flags_of({**columns, **told, "notes": notes}):
        notes["flags"] = [flag.name for flag in flags]
    if not masked:
        memory = peak_memory(job.device, job.own_process)
    if job.predictions is not None:  # last, so that nothing that is measured holds the writing
        columns |= prediction_columns(job.predictions, job.hash, job.data, logits)
        if job.valid_predictions is not None:
            valid = settle(job.data.valid)
            scores, labels = (x.float().cpu().numpy() for x in (predict(trained.model, valid), valid.labels))
            columns["predictions"]["valid"] = job.valid_predictions.stage(job.hash, job.data.label, scores, labels)
    return {**columns, "resumed": ctx.resumed, "notes": notes, "peak_mem_bytes": memory}


def _disturbed(clock: Clock, selection: Selection) -> dict[str, str] | None:
    """What other work did to the times of the record; of a shared ranking as its first cell saw it."""
    found, shared = clock.disturbed(), selection.notes.pop(_DISTURBED, None)
    if found is None:
        return None
    return ({} if shared is None else {"pt": shared}) | {_TIMES[k]: why for k, why in found.items() if k in _TIMES}


def _warm_up(job: Job) -> None:
    """Train a throw-away model for a few steps, once a process and backbone, so that no cell pays for start-up."""
    if job.checkpoints is not None:  # the first state of an optimiser that is asked for imports torch's compiler: 1 s
        torch.optim.SGD([torch.zeros(1, requires_grad=True)]).state_dict()
    if job.backbone.label in job.warmed:
        return
    ctx = replace(job, checkpoints=None, emit=silent).context(Clock(job.device))
    rows = job.data.train.take(torch.arange(min(len(job.data.train), job.profile.batch_size)))
    ctx.fit(ctx.model(), rows, None, epochs=WARM_UP_STEPS, name="warm-up")
    job.warmed.add(job.backbone.label)


def _select(job: Job, method: Method[Any], ctx: CellContext[Any], clock: Clock) -> Chosen:
    """Select within the clock, or take the ranking that another cell has paid for."""
    job.emit({"event": "phase", "phase": "select"})
    if job.method.sel_split == "valid":
        train, held = job.data.train, job.data.valid
    else:
        train, held = _holdout(job)
    shared = job.shared if is_shared(method) else None
    key = shared_key(job.identity, method)
    stored = None if shared is None else read_once(shared, key)
    if stored is None:
        with as_many_as_torch(), clock.phase("select"):
            selection = _returned(select_once(method, ctx, train, held), Selection, "select")
        pt_s = clock.seconds["select"] - clock.compiling("select")
        selection.notes = {**ctx.notes, **selection.notes}  # what is shared includes what was logged
        ctx.notes.clear()
        if reason := (clock.disturbed() or {}).get("select"):
            selection.notes[_DISTURBED] = reason
        if shared is not None and leads():
            shared.write(key, selection, pt_s)
    else:
        selection, pt_s = stored
    _check_scores(selection, method, ctx)
    serves_others = is_shared(method) and is_plain(selection)
    ranked = choose(selection, ctx, job.field_budget, job.data.field_terms)
    seen = len(train) + len(held) if selection.rows_seen is None else selection.rows_seen
    return Chosen(selection, ranked, pt_s, serves_others, seen)


def _check_scores(selection: Selection, method: Method[Any], ctx: CellContext[Any]) -> None:
    n_fields = ctx.schema.n_fields
    shape = np.shape(selection.scores) if selection.scores is not None else None
    if shape not in (None, (n_fields,)):
        raise ValueError(f"select returned scores of shape {shape}; wanted one for each of the {n_fields} fields")
    owes_scores = ctx.budget == "field" and method.info.scores == "select"
    if owes_scores and shape is None and selection.kept is None:
        raise ValueError("select returned neither scores nor kept fields")


def _holdout(job: Job) -> tuple[Rows, Rows]:
    """Split the training rows into those to select on and a stratified holdout to check a selection on."""
    train = job.data.train
    draw = generator(dataset=job.cell.dataset, seed=job.cell.seed, use="holdout")
    held = stratified_sample(train.labels, max(1, round(HOLDOUT_SHARE * len(train))), draw)
    rest = torch.ones(len(train), dtype=torch.bool)
    rest[held] = False
    return train.take(rest.nonzero().squeeze(1)), train.take(held)


def _status(error: BaseException) -> Status:
    if isinstance(error, TimeoutError):
        return "timeout"
    return "oom" if _is_out_of_memory(error) else "failed"


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; the CPU allocator of torch says so in the text of a RuntimeError only."""
    known = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return _relative(f"{type(error).__name__}: {text[0]}" if text else type(error).__name__)


def _relative(text: str) -> str:
    """A text with paths relative to the project, the import path, the working folder or the user's home."""
    roots = {Path(__file__).resolve().parents[2], Path.cwd(), Path.home(), Path(tempfile.gettempdir())}
    roots |= {Path(entry) for entry in sys.path if Path(entry).is_absolute()}
    for root in sorted(roots, key=lambda root: len(root.parts), reverse=True):
        if len(root.parts) > 1:
            text = text.replace(f"{root}/", "")
    return text
