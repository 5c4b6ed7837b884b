"""Adam and SGD of one call a step are PyTorch's own, bit for bit, and load no compiler; nor does cutting a model."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch
from torch import Tensor, nn

from bench.engine.fast.adam import FusedAdam
from bench.engine.fast.sgd import FusedSGD

TRAIN = """
import sys
import torch
from backbones.deepfm import DeepFM, DeepFMParams
from backbones.pnn import PNN, PNNParams
from backbones.xdeepfm import XDeepFM, XDeepFMParams
from bench.engine.fast.adam import FusedAdam
from bench.engine.fast.sgd import FusedSGD

for kind, params in ((DeepFM, DeepFMParams()), (PNN, PNNParams()), (XDeepFM, XDeepFMParams())):
    model = kind(4, 3, params)
    optimizers = FusedAdam(model.parameters()), FusedSGD(model.parameters())
    model(torch.ones(70, 4, 3, requires_grad=True), torch.ones(70, 4)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    model.slice_fields([0, 2])
loaded = {"torch._dynamo", "sympy"} & set(sys.modules)
raise SystemExit(f"loaded {loaded}" if loaded else 0)
"""


def make_params() -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    shapes = ((5, 3), (7,), (2, 2), (3,))
    types = (torch.float32, torch.float32, torch.float64, torch.float32)
    return [
        nn.Parameter(torch.randn(shape, generator=draw).to(kind)) for shape, kind in zip(shapes, types, strict=True)
    ]


def groups(params: list[nn.Parameter], **changes: Any) -> list[dict[str, Any]]:
    return [
        {"params": params[:2], "lr": 0.1, "weight_decay": 0.01, **changes},
        {"params": params[2:], "lr": torch.tensor(0.05), "maximize": True},
    ]


def train(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], n_steps: int = 4) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    for _ in range(n_steps):
        for param in params[:3]:  # the last one never has a gradient
            param.grad = torch.randn(param.shape, generator=draw).to(param.dtype)
        optimizer.step()
    return [param.detach().clone() for param in params]


def test_steps_of_sgd_are_those_of_torch() -> None:
    ours, theirs = make_params(), make_params()
    one, other = FusedSGD(groups(ours)), torch.optim.SGD(groups(theirs), fused=True)
    start = [param.detach().clone() for param in ours]
    moved = train(one, ours)
    assert all(map(torch.equal, moved, train(other, theirs)))
    assert [torch.equal(a, b) for a, b in zip(moved, start, strict=True)] == [False, False, False, True]


def test_steps_are_those_of_torch() -> None:
    ours, theirs = make_params(), make_params()
    one, other = FusedAdam(groups(ours)), torch.optim.Adam(groups(theirs), fused=True)
    start = [param.detach().clone() for param in ours]
    moved = train(one, ours)
    assert all(map(torch.equal, moved, train(other, theirs)))
    assert [torch.equal(a, b) for a, b in zip(moved, start, strict=True)] == [False, False, False, True]
    for mine, its in zip(ours[:3], theirs[:3], strict=True):
        assert one.state[mine].keys() == other.state[its].keys()
        assert all(torch.equal(one.state[mine][name], value) for name, value in other.state[its].items())


def test_a_saved_state_goes_on_as_if_never_saved() -> None:
    straight, broken = make_params(), make_params()
    whole = train(FusedAdam(groups(straight)), straight, 4)
    first = FusedAdam(groups(broken))
    draw = torch.Generator().manual_seed(1)
    for number in range(4):
        for param in broken[:3]:
            param.grad = torch.randn(param.shape, generator=draw).to(param.dtype)
        if number == 2:
            again = FusedAdam(groups(broken))
            again.load_state_dict(first.state_dict())
            first = again
        first.step()
    assert all(map(torch.equal, whole, broken))


def test_training_loads_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
