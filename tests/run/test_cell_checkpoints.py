"""Cells that are killed inside and go on where they were."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import without_circumstances

from bench import environment
from bench.engine.clock import Clock
from bench.errors import StorageError
from bench.run.cell import CIRCUMSTANCES, run_cell
from bench.run.job import Job

MakeJob = Callable[..., Job]


class Interrupting:
    """Raises at the n-th progress event of a kind, as a kill would end a cell there."""

    def __init__(self, at: int) -> None:
        self.at, self.events = at, 0

    def __call__(self, event: dict[str, Any]) -> None:
        self.events += 1
        if self.events == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["light-fmp", "light-fmp[noise=sample,fold=absorb]", "random-k[carry_over=true]"])
def test_a_cell_with_checkpoints_resumes_inside_with_the_same_result(
    make_job: MakeJob, tmp_path: Path, method: str
) -> None:
    whole = run_cell(make_job(method, epochs=4))
    events = Interrupting(0)
    run_cell(make_job(method, epochs=4, emit=events))
    for at in range(2, events.events + 1):  # at every event once: phases of the cell and epochs of training
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            run_cell(make_job(method, epochs=4, checkpoints=folder, emit=Interrupting(at)))
        resumed = run_cell(make_job(method, epochs=4, checkpoints=folder))
        assert without_circumstances(resumed) == without_circumstances(whole)
        assert resumed.resumed is (at >= 3)  # the second event opens the pretraining, the third follows it


@pytest.mark.parametrize("keeps", [True, False])
def test_what_the_first_state_of_an_optimiser_imports_is_in_no_time(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    real, phases = torch.optim.Optimizer.state_dict, list[str | None]()
    job = make_job("no-selection", checkpoints=tmp_path if keeps else None)
    job.warmed.add(job.backbone.label)  # by a trial, which keeps no checkpoints
    phase: list[str] = []
    clock = Clock.phase

    @contextmanager
    def told(self: Clock, name: str) -> Iterator[None]:
        with clock(self, name):
            phase.append(name)
            yield
            phase.pop()

    def state(self: torch.optim.Optimizer) -> dict[str, Any]:
        phases.append(phase[0] if phase else None)
        return real(self)

    monkeypatch.setattr(Clock, "phase", told)
    monkeypatch.setattr(torch.optim.Optimizer, "state_dict", state)
    run_cell(job)
    assert phases[:1] == (["warm-up"] if keeps else [])
    assert ("train" in phases) is keeps


@pytest.mark.parametrize("threads", [1, 7])
def test_a_cell_that_goes_on_elsewhere_says_what_differs(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    host = dict(environment.host())
    monkeypatch.setattr(environment, "host", lambda: host | {"cpu": f"model {threads}"})
    with monkeypatch.context() as before, pytest.raises(KeyboardInterrupt):
        before.setattr(environment, "host", lambda: host | {"cpu": "model 1"})
        run_cell(make_job("light-fmp", epochs=4, checkpoints=tmp_path, emit=Interrupting(5)))
    resumed = run_cell(make_job("light-fmp", epochs=4, checkpoints=tmp_path))
    assert resumed.resumed
    assert resumed.notes.get("begun_elsewhere") == (None if threads == 1 else ["processor model 1 and model 7"])


def test_a_damaged_note_of_circumstances_is_named(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / CIRCUMSTANCES).write_text('[{"host": 3}]')
    with pytest.raises(StorageError) as caught:
        run_cell(make_job("no-selection", checkpoints=tmp_path))
    assert str(caught.value).endswith(
        f"{CIRCUMSTANCES} is damaged. Delete the folder {tmp_path.name}; the cell begins anew."
    )


def test_pretraining_killed_in_the_middle_goes_on_with_the_same_average(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ranking averages over the last steps: a part of them before the kill, the rest after it."""
    from methods.parts import gated_pretraining

    method = "light-fmp[pretrain_epochs=10,pretrain_batch=20,rank_share=0.6]"
    whole = run_cell(make_job(method))
    schedule = gated_pretraining._Average.schedule

    def killed(self: Any, iteration: int, planned: int) -> None:
        if iteration == planned * 3 // 4:
            raise KeyboardInterrupt
        schedule(self, iteration, planned)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gated_pretraining._Average, "schedule", killed)
        run_cell(make_job(method, checkpoints=tmp_path))
    resumed = run_cell(make_job(method, checkpoints=tmp_path))
    assert resumed.resumed
    assert without_circumstances(resumed) == without_circumstances(whole)


def test_a_cell_refuses_a_planted_training_and_runs_once_it_is_gone(make_job: MakeJob, tmp_path: Path) -> None:
    whole = run_cell(make_job("no-selection", checkpoints=tmp_path))
    (file,) = tmp_path.glob("*.pt")
    torch.save({"model": Path("planted")}, file)  # an object: to read it would run code
    with pytest.raises(StorageError, match=f"{file.name}: is no checkpoint of this version"):
        run_cell(make_job("no-selection", checkpoints=tmp_path))  # which is no failure of the method
    file.unlink()
    again = run_cell(make_job("no-selection", checkpoints=tmp_path))
    assert without_circumstances(again) == without_circumstances(whole)


def test_stages_and_fits_of_one_name_keep_states_of_their_own(make_job: MakeJob, tmp_path: Path) -> None:
    def results(job: Job) -> tuple[list[Any], bool]:
        ctx = job.context(Clock(torch.device("cpu")))
        numbers = iter(range(100))
        with ctx._clock.phase("select"):
            found: list[Any] = [ctx.stage("score", lambda: next(numbers)) for _ in range(3)]
            for epochs in (1, 2):
                model = ctx.model()
                log = ctx.fit(model, job.data.train, epochs=epochs, name="score")
                found += [log.epochs, model.table.weight.sum().item()]
        with ctx._clock.phase("train"):
            found.append(ctx.stage("score", lambda: next(numbers)))
        return found, ctx.resumed

    plain, _ = results(make_job("random-k"))
    kept, resumed = results(make_job("random-k", checkpoints=tmp_path))
    again, resumed_again = results(make_job("random-k", checkpoints=tmp_path))
    assert plain[:4] == [0, 1, 2, 1.0]
    assert plain[-1] == 3
    assert kept == plain == again
    assert (resumed, resumed_again) == (False, True)


def test_a_stage_that_is_not_entered_again_does_not_shift_the_others(make_job: MakeJob, tmp_path: Path) -> None:
    def results() -> tuple[Any, ...]:
        ctx = make_job("random-k", checkpoints=tmp_path).context(Clock(torch.device("cpu")))
        outer = ctx.stage("rank", lambda: ctx.stage("score", lambda: "inner"))
        return outer, ctx.stage("score", lambda: "outer")

    assert results() == results() == ("inner", "outer")


def test_a_stage_keeps_plain_values_and_makes_all_else_anew(make_job: MakeJob, tmp_path: Path) -> None:
    values = {"genes": (1, 2), "score": 0.5, "mask": torch.arange(3), "names": ["a", None]}

    def results() -> tuple[dict[str, Any], Any, bool]:
        ctx = make_job("random-k", checkpoints=tmp_path).context(Clock(torch.device("cpu")))
        return ctx.stage("search", lambda: dict(values)), ctx.surgery(ctx.model), ctx.resumed

    first, model, resumed = results()
    again, model_again, resumed_again = results()
    assert (resumed, resumed_again) == (False, True)
    assert [file.name for file in tmp_path.iterdir()] == ["search-1.stage.pt"]
    assert repr(first) == repr(again) == repr(values)
    assert model is not model_again and torch.equal(model.table.weight, model_again.table.weight)


class Planted:
    """Code that reading a file of pickles would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("write", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))])
def test_the_file_of_a_stage_runs_no_code(make_job: MakeJob, tmp_path: Path, write: Any) -> None:
    ctx = make_job("random-k", checkpoints=tmp_path).context(Clock(torch.device("cpu")))
    ctx.stage("search", lambda: 1)
    (file,) = tmp_path.iterdir()
    write({"result": Planted(tmp_path / "mark")}, file)
    ctx = make_job("random-k", checkpoints=tmp_path).context(Clock(torch.device("cpu")))
    with pytest.raises(StorageError, match=r"search-1.stage.pt: is no checkpoint of this version .* delete it"):
        ctx.stage("search", lambda: 1)
    assert not (tmp_path / "mark").exists()
