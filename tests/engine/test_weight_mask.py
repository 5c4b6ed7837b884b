"""Masked tables: inactive scalars are zero at every step, a step costs its rows, and CSR gives the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import CTRModel, FitPlan
from bench.engine import csr
from bench.engine import fit as fit_module
from bench.engine.csr import CsrTable, encoded_bytes
from bench.engine.fast.adam import FusedAdam
from bench.engine.fit import Fitter
from bench.engine.table import EmbeddingTable
from bench.engine.weight_mask import GradientSums, WeightMask
from tests.engine.fit_rig import DIM, Pick, fit, make_model, make_rows, profile_step

ROWS, VALID = make_rows(64), make_rows(32, seed=1, first=64)


def active_part(model: CTRModel, share: float = 0.5) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.rand(model.schema.vocabulary_rows, DIM, generator=draw) < share


def masked(share: float = 0.5) -> tuple[CTRModel, WeightMask]:
    model = make_model(ROWS.schema)
    return model, model.table.mask_weights(active_part(model, share))


def outside(model: CTRModel) -> float:
    assert model.table.mask is not None
    return float((model.table.weight.detach()[:, :DIM] * ~model.table.mask.active).abs().max())


@pytest.mark.parametrize("plan", [{}, {"lazy": True}, {"clip_norm": 0.1}], ids=["dense", "lazy", "clipped"])
def test_inactive_scalars_are_zero_after_every_step_and_active_ones_move(plan: dict[str, Any]) -> None:
    model, mask = masked()
    before, seen = model.table.weight.detach().clone(), []

    def look(optimizer: torch.optim.Optimizer) -> None:
        moments = optimizer.state[model.table.parameter]
        held = max(float((moments[name][:, :DIM] * ~mask.active).abs().max()) for name in ("exp_avg", "exp_avg_sq"))
        seen.append((outside(model), held))

    fit(model, ROWS, [profile_step(model, after=look)], VALID, patience=9, by_lookup=False, **plan)
    assert len(seen) == 3 * 16
    assert set(seen) == {(0.0, 0.0)}
    moved = model.table.weight.detach() != before
    assert moved[:, DIM].all(), "linear weights are never masked"
    assert moved[:, :DIM][mask.active].all()


def test_a_masked_step_is_that_of_a_table_multiplied_by_its_mask() -> None:
    model, mask = masked()
    plain = make_model(ROWS.schema)
    factor = torch.cat([mask.active, torch.ones_like(mask.active[:, :1])], dim=1).double()
    with torch.no_grad():
        plain.table.weight.mul_(factor)
    batch = next(ROWS.slices(16))
    for one in (model, plain):
        torch.nn.functional.binary_cross_entropy_with_logits(one(batch), batch.labels).backward()  # type: ignore[no-untyped-call]
    grads = [one.table.weight.grad for one in (model, plain)]
    assert grads[0] is not None
    assert grads[1] is not None
    torch.testing.assert_close(grads[0], grads[1] * factor, rtol=0, atol=0)


def test_the_mask_is_in_checkpoints_and_among_the_best_weights(tmp_path: Path) -> None:
    def fitter(epochs: int) -> Fitter:
        model, _ = masked()
        plan = FitPlan(epochs=epochs, batch_size=16, patience=9)
        draw = torch.Generator().manual_seed(0)
        return Fitter(model, ROWS, VALID, [profile_step(model)], plan, draw, checkpoint=tmp_path / "state.pt")

    first = fitter(2)
    assert first.model.table.mask is not None
    moved = first.model.table.mask.active.roll(1, 0).clone()
    first.model.table.mask.active.copy_(moved)
    first.model.table.mask.cut(first.model.table.weight.data)
    first.run()
    again = fitter(2)
    again.run()
    assert again.log.resumed
    assert again.model.table.mask is not None
    assert torch.equal(again.model.table.mask.active, moved)
    assert outside(again.model) == 0
    assert torch.equal(again.model.table.weight, first.model.table.weight)


def test_room_is_left_for_the_mask_among_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(fit_module, "settle", lambda rows, beside: asked.append(beside) or rows)
    for share in (None, 0.5):
        model = make_model(ROWS.schema)
        if share is not None:
            model.table.mask_weights(active_part(model))
        Fitter(model, ROWS, None, [profile_step(model)], FitPlan(1, 16), torch.Generator())
    assert asked[1] - asked[0] == 16 * DIM  # a byte a scalar


def test_a_resumed_training_knows_what_was_spent_before(tmp_path: Path) -> None:
    def fitter() -> tuple[Fitter, WeightMask]:
        model, mask = masked()
        plan = FitPlan(epochs=4, batch_size=16, patience=9)
        draw = torch.Generator().manual_seed(0)
        return Fitter(model, ROWS, VALID, [profile_step(model)], plan, draw, checkpoint=tmp_path / "state.pt"), mask

    first, mask = fitter()

    def move(entry: dict[str, float]) -> None:
        with mask.moving():
            pass

    first.on_epoch = move
    first.run()
    assert mask.spent["updates"] == 4
    assert mask.spent["mask_apply_s"] > 0
    again, taken_up = fitter()
    again.run()
    assert again.log.resumed
    assert taken_up.spent == mask.spent


def test_an_exchange_keeps_the_count_and_forgets_values_and_moments_of_both() -> None:
    table = EmbeddingTable(torch.arange(1.0, 13).view(4, 3).clone())
    mask = table.mask_weights(torch.tensor([[True, False], [True, True], [False, False], [True, False]]))
    optimizer = FusedAdam([{"params": [table.weight], "lr": 0.1}])
    state = optimizer.state_of(table.weight)
    for moment in (state["exp_avg"], state["exp_avg_sq"]):
        moment.fill_(7.0)
    mask.exchange(torch.tensor([0, 3]), torch.tensor([1, 4]), table.weight, optimizer)
    # flat places 0, 3, 1, 4 of [4, 2] are (0, 0), (1, 1), (0, 1), (2, 0)
    assert mask.active.tolist() == [[False, True], [True, False], [True, False], [True, False]]
    assert table.weight.tolist() == [[0, 0, 3], [4, 0, 6], [0, 0, 9], [10, 0, 12]]
    for moment in (state["exp_avg"], state["exp_avg_sq"]):
        assert moment.tolist() == [[0, 0, 7], [7, 0, 7], [0, 7, 7], [7, 7, 7]]
    with pytest.raises(ValueError, match="2 scalars go and 1 come"):
        mask.exchange(torch.tensor([2, 4]), torch.tensor([0]), table.weight, optimizer)


@pytest.mark.parametrize("active", [torch.ones(16, DIM), torch.ones(15, DIM, dtype=torch.bool)])
def test_a_mask_that_does_not_fit_is_refused(active: torch.Tensor) -> None:
    model = make_model(ROWS.schema)
    with pytest.raises(ValueError, match=r"wanted bool \[16, D\]"):
        model.table.mask_weights(active)


class Sliceable(Pick):
    def slice_fields(self, kept: Sequence[int]) -> Sliceable:
        return Sliceable(len(kept), self.dim)


def test_smaller_models_keep_their_part_of_the_mask() -> None:
    model = CTRModel(ROWS.schema, make_model(ROWS.schema).table.weight.detach()[:, :DIM].clone(), Sliceable(3, DIM))
    mask = model.table.mask_weights(active_part(model))
    offsets = model.schema.offsets
    small = model.prune([0, 2])
    assert small.table.mask is not None
    wanted = torch.cat([mask.active[: offsets[1]], mask.active[offsets[2] :]])
    assert torch.equal(small.table.mask.active, wanted)
    folded = model.fold()
    assert folded.table.mask is not None
    assert torch.equal(folded.table.mask.active, mask.active)
    part = model.restrict(ROWS.take(torch.arange(3)))
    assert part.model.table.mask is not None
    assert torch.equal(part.model.table.mask.active, mask.active[part.used])


@pytest.mark.parametrize("before", [True, False], ids=["masked before", "masked in part"])
def test_a_mask_that_moved_over_some_rows_comes_back_with_them(before: bool) -> None:
    model = make_model(ROWS.schema)
    whole = model.table.mask_weights(active_part(model)).active.clone() if before else torch.ones(16, DIM).bool()
    part = model.restrict(ROWS.take(torch.arange(3)))
    moved = whole[part.used].roll(1, 1)
    part.model.table.mask_weights(moved)
    with torch.no_grad():
        part.model.table.weight[:, :DIM][moved] = 7.0
    part.write_back()
    assert model.table.mask is not None
    wanted = whole.clone()
    wanted[part.used] = moved
    assert torch.equal(model.table.mask.active, wanted)
    assert outside(model) == 0
    assert (model.table.weight[part.used][:, :DIM][moved] == 7.0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_csr_lookup_is_the_dense_one_bit_for_bit(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csr, "_ROWS", 5)  # of 16
    model, _ = masked(share)
    ids = next(ROWS.slices(64)).ids
    dense, linear = model.table.split(ids, DIM)
    e, beside = CsrTable(model.table).split(ids, DIM)
    assert linear is not None
    assert beside is not None
    for one, other in ((dense, e), (linear, beside)):
        bits, wanted = (x.detach().contiguous().numpy().view(np.int64) for x in (other, one))
        assert np.array_equal(bits, wanted)


def test_bytes_follow_from_the_encodings() -> None:
    # 1000 rows of 10: 40,000 dense; 5,000 values and columns, 1,001 row ends; two bytes of bits a row
    assert encoded_bytes(5000, 1000, 10, linear=False) == {
        "dense_bytes": 40_000,
        "csr_bytes": 5000 * 5 + 4004,
        "bitmask_bytes": 20_000 + 2000 + 4004,
    }
    assert encoded_bytes(5000, 1000, 10, linear=True)["csr_bytes"] == 5000 * 5 + 4004 + 4000
    assert encoded_bytes(8, 2, 300, linear=False)["csr_bytes"] == 8 * 6 + 12


def test_a_table_without_a_mask_has_no_csr_form() -> None:
    with pytest.raises(ValueError, match="has no mask"):
        CsrTable(EmbeddingTable(torch.ones(2, 2)))


@pytest.mark.parametrize("rows", [None, [2, 9, 15]], ids=["all", "few"])
def test_sums_hold_the_gradient_before_it_is_cut_of_the_rows_that_are_watched(rows: list[int] | None) -> None:
    model, mask = masked()
    sums = GradientSums(mask, model.table.weight.detach(), None if rows is None else len(rows))
    if rows is not None:
        sums.watch(torch.tensor(rows))
    mask.observer = sums
    plain = make_model(ROWS.schema)
    with torch.no_grad():
        plain.table.weight.copy_(model.table.weight)
    batches = list(ROWS.slices(16))
    for listens, batch in zip([False, True, True], batches, strict=False):
        sums.listen(listens)
        for one in (model, plain) if listens else (model,):
            torch.nn.functional.binary_cross_entropy_with_logits(one(batch), batch.labels).backward()  # type: ignore[no-untyped-call]
    wanted = plain.table.weight.grad
    assert wanted is not None
    wanted = wanted[:, :DIM]
    found = sums.sums if rows is None else sums.sums[: len(rows)]
    torch.testing.assert_close(found, wanted if rows is None else wanted[rows], rtol=0, atol=1e-12)
    assert (found[~mask.active[slice(None) if rows is None else rows]] != 0).any()
    sums.clear()
    assert not sums.sums.any()


def test_squares_are_of_active_scalars_and_of_every_step() -> None:
    model, mask = masked()
    sums = GradientSums(mask, model.table.weight.detach(), 1)
    batch = next(ROWS.slices(16))
    ids, whole = batch.ids.reshape(-1), torch.arange(48.0 * DIM, dtype=torch.float64).view(48, DIM)
    cut = whole * mask.active[ids]
    sums.see(ids, whole, cut)
    wanted = torch.zeros(len(mask.active), dtype=torch.float64)
    for row, grad in zip(ids.tolist(), cut, strict=True):
        wanted[row] += float(grad @ grad)
    assert sums.squares is not None
    torch.testing.assert_close(sums.squares, wanted)
