from __future__ import annotations

import hashlib

import pytest
import torch

from bench.seeds import generator, seed


def test_a_seed_is_the_sha256_of_its_axes_as_sorted_json() -> None:
    digest = hashlib.sha256(b'{"dataset":"x","seed":2,"use":"batches"}').hexdigest()
    assert seed(use="batches", seed=2, dataset="x") == int(digest[:16], 16) // 2
    assert seed(seed=2, dataset="x", use="batches") == seed(dataset="x", seed=2, use="batches")


@pytest.mark.parametrize("change", [{"seed": 1}, {"use": "noise"}, {"dataset": "y"}, {"tau": 0.5}])
def test_every_axis_matters(change: dict[str, str | int | float]) -> None:
    axes: dict[str, str | int | float] = {"dataset": "x", "seed": 0, "use": "batches"}
    assert seed(**axes) != seed(**(axes | change))


def test_values_of_different_type_are_different_axes() -> None:
    assert len({seed(a=1), seed(a="1"), seed(a=None), seed(b=1)}) == 4


def test_seeds_fit_what_torch_takes() -> None:
    seeds = [seed(n=n) for n in range(200)]
    assert len(set(seeds)) == 200
    assert all(0 <= value < 2**63 for value in seeds)
    assert max(seeds) > 2**62  # the upper half is used


def test_generators_of_the_same_axes_draw_the_same_and_leave_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (generator(a=1), generator(a=1), generator(a=2))
    draws = [torch.rand(5, generator=g) for g in (first, again, other)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(before, torch.get_rng_state())
