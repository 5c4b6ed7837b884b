"""Sequential Attention: masks, phases, and the order on rows where it is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import CTRModel, FitPlan, Group, Rows, Step
from bench.engine.fit import Fitter
from bench.profiles import SMALL
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job, resolve_backbone
from methods.sequential_attention import AttentionGate, in_phases

IDS = torch.zeros(2, 4, dtype=torch.int32)
E = torch.zeros(2, 4, 3)


def test_fields_pass_whole_once_they_have_joined_and_by_attention_before() -> None:
    gate = AttentionGate(4)
    assert gate(E, IDS).tolist() == [1.0] * 4  # warming up
    gate.warming.fill_(False)
    gate.logits.data.copy_(torch.tensor([0.0, math.log(3), 0.0, math.log(2)]))
    assert gate(E, IDS).tolist() == pytest.approx([1 / 7, 3 / 7, 1 / 7, 2 / 7])
    gate.join(0)
    assert gate.logits.tolist() == [0.0] * 4
    gate.logits.data.copy_(torch.tensor([0.0, 9.0, math.log(2), 0.0]))  # the joined one's logit counts no more
    assert gate(E, IDS).tolist() == pytest.approx([1 / 4, 1, 1 / 2, 1 / 4])
    gate.join(1)
    gate.logits.data[3] = math.log(4)
    assert gate.order.tolist() == [4, 0, 1, 4]
    assert gate.scores().tolist() == pytest.approx([0.2, 4, 3, 0.8])  # order of joining, then attention


def test_phases_share_what_the_warm_up_leaves_and_the_last_one_ends_with_the_training() -> None:
    gate = AttentionGate(5)
    move, joined, warm = in_phases(gate, 3, 0.1), [], []
    for iteration in range(20):  # 2 of warm-up, then phases of 6
        move(iteration, 20)
        joined.append(int(gate.joined.sum()))
        warm.append(bool(gate.warming))
    assert warm == [True] * 2 + [False] * 18
    assert joined == [0] * 8 + [1] * 6 + [2] * 6


def test_a_schedule_taken_up_in_the_middle_goes_on_where_it_was() -> None:
    gate = AttentionGate(5)
    for iteration in range(9):
        in_phases(gate, 4, 0.0)(iteration, 20)
    resumed = AttentionGate(5)
    resumed.load_state_dict(gate.state_dict())
    for iteration in range(9, 20):
        in_phases(resumed, 4, 0.0)(iteration, 20)
    assert gate.order.tolist() == [0, 5, 5, 5, 5]  # of equal logits the first field joins
    assert resumed.order.tolist() == [0, 1, 2, 5, 5]


def test_phases_that_share_a_step_end_in_the_order_of_its_logits() -> None:
    """Logits that begin anew between them would be equal, and fields would join from the left."""
    gate = AttentionGate(7)
    move = in_phases(gate, 6, 0.0)
    steps = [0.0, 1, 2, 3, 4, 5, 6], [3.0, 1, 4, 1.5, 5, 9, 2], [2.0, 7, 1, 8, 0, 0, 0]
    for iteration, logits in enumerate(steps):  # two phases each
        move(iteration, 3)
        gate.logits.data.copy_(torch.tensor(logits))
    assert gate.order.tolist() == [7, 7, 3, 7, 2, 1, 0]  # 6 and 5; then of the others 4 and 2
    assert np.argsort(-gate.scores(), kind="stable").tolist() == [6, 5, 4, 2, 3, 1, 0]
    spreads = [np.std(candidates) for candidates in ([0, 1, 2, 3, 4, 5, 6], [3, 1, 4, 1.5, 5])]
    assert gate.spread.item() == pytest.approx(2 * sum(spreads))  # a spread for every join


def copied(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns: weak, strong, a copy of strong, middle, noise; codes 0 and 1. And labels."""
    rng = np.random.default_rng(3)
    weak, strong, middle, noise = rng.integers(0, 2, (4, n))
    logit = 0.8 * weak + 3.0 * strong + 1.6 * middle - 2.7
    labels = rng.random(n) < 1 / (1 + np.exp(-logit))
    return np.stack([weak, strong, strong, middle, noise], 1), labels


def test_fields_join_by_what_they_add_and_a_copy_comes_after_what_is_weaker(rows_of: Callable[..., Rows]) -> None:
    columns, labels = copied(4000)
    rows = rows_of(columns + 2, np.full(5, 4), labels)
    draw = torch.Generator().manual_seed(0)
    backbone = resolve_backbone("logistic", SMALL)
    net = backbone.cls(5, 0, backbone.params)
    model = CTRModel(rows.schema, torch.randn(rows.schema.vocabulary_rows, 1, generator=draw) * 0.01, net)
    model.gate = gate = AttentionGate(5)
    step = Step([Group([model.table.weight, *model.network_parameters()], 0.01), Group([gate.logits], 0.02)])
    plan = FitPlan(epochs=40, batch_size=400)
    Fitter(model, rows, None, [step], plan, draw, schedule=in_phases(gate, 4, 0.1)).run()
    order = np.argsort(gate.order.numpy(), kind="stable").tolist()
    assert order[0] in (1, 2)  # strong, or its copy
    assert order[1:3] == [3, 0]  # middle, weak; of what the copy says nothing is left
    assert len(gate.scores()) == len(set(gate.scores()))


def test_phases_for_all_fields_give_one_ranking_for_all_prune_ratios(make_job: Callable[..., Job]) -> None:
    for text, axes in (
        ("sequential-attention", {"backbone", "seed"}),
        ("sequential-attention[phases=k]", {"tau", "backbone", "seed"}),
    ):
        choice = choose_method(text)
        assert plugins.methods().load(choice.name)(choice.params, choice.entry).depends_on() == axes
        record = run_cell(make_job(text, epochs=2))
        n_fields = len(record.field_names)
        k = n_fields - n_fields // 2
        phases = k if "tau" in axes else n_fields - 1
        assert record.notes["phases"] == phases
        assert len(record.notes["order"]) == phases - 1
