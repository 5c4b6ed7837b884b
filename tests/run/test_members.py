"""Methods that rank by others: what a member sees, who may be one, and what is said and paid for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import pytest
import torch
from cell_records import TINY, without_circumstances

from bench import plugins
from bench.api import Axis, ConfigError, Context, Method, MethodEntry, Range, Rows, Schema, Selection
from bench.checks.example import example_data
from bench.engine.clock import Clock
from bench.run.cell import run_cell, run_selection
from bench.run.config import RunConfig
from bench.run.grid import choose_method
from bench.run.job import Job
from bench.run.selections import is_shared
from bench.run.session import Session, resolve

MakeJob = Callable[..., Job]


@dataclass(frozen=True)
class InnerParams:
    """Of the member."""

    add: Annotated[float, Range(0)] = 0.0
    """Added to every score."""
    trains: bool = False
    """Whether a model is trained first."""
    axis: str = "seed"
    """The axis that it declares."""
    refuses: str = ""
    """Why it has no part, if so."""
    gives: str = "scores"
    """What it returns."""


class Inner(Method[InnerParams]):
    """Ranks by lot."""

    Params = InnerParams
    calls: ClassVar[list[tuple[str, int, int]]] = []

    def depends_on(self) -> frozenset[Axis]:
        return frozenset({cast(Axis, self.params.axis)})

    def check_fields(self, schema: Schema) -> None:
        if self.params.add == 7:
            raise ConfigError("add=7 does not fit these fields")

    def skip(self, ctx: Context[InnerParams]) -> str | None:
        return f"{self.params.refuses} with {ctx.params.refuses}" if self.params.refuses else None

    def select(self, ctx: Context[InnerParams], train: Rows, selection_rows: Rows) -> Selection:
        self.calls.append((ctx.budget, len(train), ctx.n_keep))
        ctx.log(logged_by_member=1)
        if self.params.trains:
            ctx.fit(ctx.model(), train, selection_rows, name="inner", epochs=2)
        scores = torch.rand(ctx.schema.n_fields, generator=ctx.rng("inner"), dtype=torch.float64).numpy()
        odd = {"nothing": None, "nan": scores * np.nan, "short": scores[1:]}
        return Selection(scores=odd.get(self.params.gives, scores + self.params.add), rows_seen=5, notes={"note": 2})


@dataclass(frozen=True)
class OuterParams:
    """Of the method that ranks by others."""

    member: str = "inner"
    """Its member."""
    asks: str = ""
    """What it asks for in place of its member."""
    draw: int = 0
    """Of the ranking."""
    times: int = 1
    """How often it asks."""


class Outer(Method[OuterParams]):
    """Ranks as its member does."""

    Params = OuterParams
    seen: ClassVar[list[Selection]] = []

    def members(self) -> Mapping[str, float]:
        return {self.params.member: 2.5}

    def select(self, ctx: Context[OuterParams], train: Rows, selection_rows: Rows) -> Selection:
        p = self.params
        found = [ctx.rank(p.asks or p.member, train, selection_rows, draw=p.draw + n) for n in range(p.times)]
        self.seen[:] = found
        return Selection(scores=np.mean([np.asarray(one.scores) for one in found], axis=0))


class Broken(Method[Any]):
    """Cannot say what it is made of."""

    def members(self) -> Mapping[str, float]:
        raise KeyError("no such thing")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-ins above, as if they were installed."""
    shallow: dict[str, Any] = {"family": "shallow", "search": (1.0, 3.0), "depends_on": frozenset()}
    for name, entry in {
        "inner": MethodEntry(f"{__name__}:Inner", "Inner", **shallow),
        "inner-ids": MethodEntry(f"{__name__}:Inner", "Inner of ids", reads_numbers=False, **shallow),
        "inner-late": MethodEntry(f"{__name__}:Inner", "Late", scores="train"),
        "inner-values": MethodEntry(f"{__name__}:Inner", "Values", granularity="value", **shallow),
        "inner-gone": MethodEntry(f"{__name__}:Gone", "Gone", **shallow),
        "outer": MethodEntry(f"{__name__}:Outer", "Outer", **shallow | {"search": (0.5, 0.5)}),
        "outer-broken": MethodEntry(f"{__name__}:Broken", "Broken", **shallow),
    }.items():
        monkeypatch.setitem(plugins.methods()._entries, name, entry)
        monkeypatch.setitem(plugins.methods()._origins, name, entry.target)
    monkeypatch.setattr(Inner, "calls", [])


def test_a_member_ranks_as_in_a_cell_of_its_own(make_job: MakeJob) -> None:
    for member in ("inner[add=1]", "inner[trains=true]", "xgboost[depth=2]"):
        own = run_selection(make_job(member))["scores"]
        assert np.array_equal(run_selection(make_job(f"outer[member={member}]"))["scores"], own)
    assert Inner.calls[0] == Inner.calls[1] == ("field", Inner.calls[0][1], 4)


def test_another_draw_is_another_ranking_and_the_same_one_again(make_job: MakeJob) -> None:
    first, second, again = (run_selection(make_job(f"outer[draw={draw}]"))["scores"].tolist() for draw in (0, 1, 1))
    assert first != second == again


def test_its_seconds_are_a_stage_of_the_method_s_and_part_of_its_pt(make_job: MakeJob) -> None:
    record = run_cell(make_job("outer[member=inner[trains=true],times=2]", epochs=1))
    member = record.phases["select/inner[trains=true]"]
    assert record.status == "ok" and record.pt_s is not None
    assert record.pt_s >= member >= record.phases["select/inner[trains=true]/inner"] > 0
    assert record.notes.keys().isdisjoint({"logged_by_member", "note"}), "the method tells what it wants of it"


def test_the_method_gets_scores_and_remarks_and_no_model(make_job: MakeJob) -> None:
    run_selection(make_job("outer[member=light-fmp[pretrain_rows=200,pretrain_epochs=1]]"))
    (found,) = Outer.seen
    assert found.scores is not None and len(found.scores) == 8
    assert (found.start, found.used_rows, found.kept) == (None, None, None)
    run_selection(make_job("outer"))
    assert Outer.seen[0].rows_seen == 5
    assert Outer.seen[0].notes == {"logged_by_member": 1, "note": 2}


def test_what_members_depend_on_the_method_does(make_job: MakeJob) -> None:
    assert make_job("outer").method.make().axes() == {"seed"}
    shared = make_job("outer[member=inner[axis=tau]]").method.make()
    assert (shared.depends_on(), shared.axes(), is_shared(shared)) == (frozenset(), {"tau"}, True)
    assert not is_shared(make_job("outer[member=light-fmp]").method.make())


def test_a_cell_in_which_a_member_has_no_part_is_skipped_with_its_reason(make_job: MakeJob) -> None:
    record = run_cell(make_job("outer[member=inner[refuses=never]]"))
    said = "it ranks by inner[refuses=never], which does not fit here: never with never"
    assert (record.status, record.reason) == ("skipped", said)


def test_a_member_that_is_blind_to_a_kind_of_field_makes_the_method_so(make_job: MakeJob) -> None:
    record = run_cell(replace(make_job("outer[member=inner-ids]"), data=example_data()))
    assert record.status == "skipped" and record.reason is not None
    assert record.reason.startswith("it ranks by inner-ids, which does not fit here: the method reads ids alone, and ")


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("iner", "outer: method 'iner' is unknown. Did you mean 'inner'?"),
        ("inner[add=-1]", "outer: inner: add=-1 is out of range; allowed: [0, inf)."),
        ("inner-late", "outer: 'inner-late' has scores only once its model is trained; name methods that rank"),
        ("no-selection", "outer: 'no-selection' gives fields no scores; name methods that rank fields"),
        ("outer", "outer: 'outer' is made of other methods itself; name those."),
        ("inner[budget=field]", "outer: 'inner[budget=field]' gives budget, which is that of outer; leave it out"),
        ("inner[sel_split=valid]", "outer: 'inner[sel_split=valid]' gives sel_split, which is that of outer"),
    ],
)
def test_who_can_be_no_member_is_said_before_the_run(member: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(f"outer[member={member}]")
    assert str(caught.value).startswith(said)


def test_a_member_s_parameters_must_fit_the_fields(data_dir: Path, tmp_path: Path) -> None:
    methods = ("outer[member=inner[add=7]]",)
    session = Session(resolve(RunConfig(datasets=(TINY,), methods=methods, data_dir=data_dir, out=tmp_path)))
    with pytest.raises(ConfigError, match="add=7 does not fit these fields"):
        session.check_fields(session.plan.cards)


def test_a_ranking_from_a_file_is_no_member(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("a\nb\n")
    with pytest.raises(ConfigError, match=r"outer: 'ranking-file\[path=.*\]' reads its ranking from a file"):
        choose_method(f"outer[member=ranking-file[path={file}]]")


def test_a_method_that_selects_values_is_a_member_by_its_field_scores(make_job: MakeJob) -> None:
    assert run_selection(make_job("outer[member=inner-values]"))["status"] == "ok"
    assert Inner.calls[-1][0] == "field"


@pytest.mark.parametrize(("method", "said"), [("outer[member=inner-gone]", "Gone"), ("outer-broken", "no such thing")])
def test_a_broken_plug_in_fails_its_cells_alone(make_job: MakeJob, method: str, said: str) -> None:
    record = run_cell(make_job(method))
    assert record.status == "failed" and said in str(record.reason)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("outer[asks=cardinality]", "ctx.rank('cardinality'): members() names ['inner']; name it there"),
        ("outer[member=inner[gives=nothing]]", "inner[gives=nothing] gave None; wanted a finite score for each field"),
        ("outer[member=inner[gives=nan]]", "inner[gives=nan] gave "),
        ("outer[member=inner[gives=short]]", "inner[gives=short] gave "),
    ],
)
def test_what_is_no_ranking_of_a_member_fails_the_cell(make_job: MakeJob, method: str, said: str) -> None:
    record = run_cell(make_job(method))
    assert record.status == "failed" and str(record.reason).startswith(f"ValueError: {said}")


def test_what_decides_a_member_s_ranking_is_part_of_the_identity(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_job("outer")
    before, (member,) = base.hash, base.identity["members"]
    assert member == {"method": "inner", "params": choose_method("inner").params_dict()}
    assert "members" not in make_job("inner").identity
    monkeypatch.setitem(plugins.methods()._versions, "inner", {"file": "inner.py", "sha256": "abc"})
    changed = make_job("outer")
    assert changed.identity["members"] == [member | {"method_code": "abc"}]
    assert changed.hash != before


def test_a_member_s_cost_is_reckoned_as_often_as_it_is_asked() -> None:
    assert choose_method("outer").search_cost(8) == (0.5 + 2.5 * 1, 0.5 + 2.5 * 3)
    assert choose_method("inner").search_cost(8) == (1, 3)


def test_the_context_of_a_member_has_its_parameters_and_no_members(make_job: MakeJob) -> None:
    job = make_job("outer[member=inner[add=2]]")
    inner = job.context(Clock(job.device)).inside("inner[add=2]")
    assert (inner.params, inner.budget, inner.seed) == (InnerParams(add=2.0), "field", job.cell.seed)
    with pytest.raises(ValueError, match=r"members\(\) names none; name it there"):
        inner.inside("inner")


class Interrupting:
    """Raises at the n-th progress event, as a kill would end a cell there."""

    def __init__(self, at: int) -> None:
        self.at, self.events = at, 0

    def __call__(self, event: dict[str, Any]) -> None:
        self.events += 1
        if self.events == self.at:
            raise KeyboardInterrupt


def test_a_cell_goes_on_inside_a_member_and_takes_no_ranking_for_another(make_job: MakeJob, tmp_path: Path) -> None:
    """Two rankings of one member, each with a training: an interruption in the second leaves the first as it is."""
    method = "outer[member=inner[trains=true],times=2]"
    whole = run_cell(make_job(method))
    events = Interrupting(0)
    run_cell(make_job(method, emit=events))
    assert len(Inner.calls) == 2 + 2
    for at in range(2, events.events + 1):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            run_cell(make_job(method, checkpoints=folder, emit=Interrupting(at)))
        resumed = run_cell(make_job(method, checkpoints=folder))
        assert without_circumstances(resumed) == without_circumstances(whole)
