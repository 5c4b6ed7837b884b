from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from methods.parts.controllers import BatchNorm, ChannelNorm, FieldScorer, largest

B, F, D = 6, 3, 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def embeddings(rows: int = B, seed: int = 1) -> Tensor:
    return torch.randn(rows, F, D, generator=rng(seed)) * 0.3 + 0.2


def moved(norm: BatchNorm) -> BatchNorm:
    """With parameters that are not those of the start."""
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, len(norm.weight)))
        norm.bias.copy_(torch.linspace(-1, 1, len(norm.bias)))
    return norm


def test_batch_norm_is_torch_s() -> None:
    ours, theirs, x = moved(BatchNorm(D)), nn.BatchNorm1d(D, momentum=None), embeddings()[:, 0]  # None: means
    theirs.weight, theirs.bias = ours.weight, ours.bias
    for number in range(13):
        if number == 10:
            theirs.momentum = 0.1
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        x = x.roll(1, 1) * 1.1 + 0.2
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("norm", [BatchNorm(D), ChannelNorm(D)])
def test_a_norm_is_of_its_batches_from_the_first_on(norm: BatchNorm) -> None:
    """Nothing of the start, mean 0 and variance 1, is left: embeddings may be a hundred times smaller."""
    x = (embeddings() if isinstance(norm, ChannelNorm) else embeddings()[:, 0]) * 0.01
    norm(x)
    torch.testing.assert_close(norm.running_mean, x.flatten(0, -2).mean(0))
    torch.testing.assert_close(norm.running_var, x.flatten(0, -2).var(0))


@pytest.mark.parametrize("norm", [BatchNorm(D), ChannelNorm(D)])
def test_a_norm_taken_up_again_goes_on_counting(norm: BatchNorm) -> None:
    parts = [e if isinstance(norm, ChannelNorm) else e[:, 0] for e in (embeddings(seed=seed) for seed in range(4))]
    again = type(norm)(D)
    for x in parts[:3]:
        norm(x)
    again.load_state_dict(norm.state_dict())
    for one in (norm, again):
        one(parts[3])
    assert torch.equal(norm.running_var, again.running_var)
    means = torch.stack([x.flatten(0, -2).mean(0) for x in parts])
    torch.testing.assert_close(again.running_mean, means.mean(0))  # a quarter each


def test_channel_norm_takes_moments_over_rows_and_fields() -> None:
    ours, theirs = moved(ChannelNorm(D)), nn.BatchNorm1d(D, momentum=None)
    theirs.weight, theirs.bias = ours.weight, ours.bias
    e = embeddings().requires_grad_()
    again = e.detach().clone().requires_grad_()
    for mode in (True, False):
        one = ours.train(mode)(e)
        other = theirs.train(mode)(again.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(one, other)
        one.square().sum().backward()
        other.square().sum().backward()
    torch.testing.assert_close(e.grad, again.grad)  # through the moments too
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("norm", [BatchNorm(D), ChannelNorm(D)])
def test_frozen_statistics_stay_though_the_batch_s_own_are_used(norm: BatchNorm) -> None:
    x = embeddings() if isinstance(norm, ChannelNorm) else embeddings()[:, 0]
    expected = norm(x)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.frozen = True
    torch.testing.assert_close(norm(x), expected)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


@pytest.mark.parametrize("norm", [BatchNorm(D), ChannelNorm(D)])
def test_a_batch_of_one_row_is_normalised_by_the_running_statistics(norm: BatchNorm) -> None:
    x = embeddings() if isinstance(norm, ChannelNorm) else embeddings()[:, 0]
    for _ in range(3):
        norm(x)
    before = norm.running_mean.clone()
    torch.testing.assert_close(norm.train()(x[:1]), norm.eval()(x[:1]))
    assert torch.equal(norm.running_mean, before)


def test_the_scorer_is_a_linear_layer_with_batch_norm_of_its_own_for_each_view() -> None:
    scorer, e = FieldScorer(F, D, 2, rng()), embeddings()
    moved(scorer.norm)
    found = scorer(e).view(B, 2, F)
    for view in range(2):
        part = slice(view * F, (view + 1) * F)
        y = e.flatten(1) @ scorer.weight[part].T
        y = (y - y.mean(0)) / torch.sqrt(y.var(0, correction=0) + 1e-5)
        torch.testing.assert_close(found[:, view], y * scorer.norm.weight[part] + scorer.norm.bias[part])


@pytest.mark.parametrize("training", [True, False])
def test_the_scorer_takes_the_channel_norm_into_its_weights(training: bool) -> None:
    scorer, channels, e = FieldScorer(F, D, 2, rng()), ChannelNorm(D), embeddings()
    moved(channels)
    other = moved(ChannelNorm(D))
    for part in (scorer, channels, other):
        part.train(training)
    torch.testing.assert_close(scorer(e, channels.affine(e)), scorer(other(e)))


def test_views_start_from_xavier_draws_of_their_own() -> None:
    weight = FieldScorer(40, 10, 3, rng()).weight.detach().view(3, 40, 400)
    assert weight.std((1, 2)).tolist() == pytest.approx([(2 / 440) ** 0.5] * 3, rel=0.05)
    assert not torch.equal(weight[0], weight[1])
    assert torch.equal(weight, FieldScorer(40, 10, 3, rng()).weight.detach().view(3, 40, 400))
    state = torch.get_rng_state()
    FieldScorer(4, 2, 3, rng(5))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_largest_k_of_every_row_exactly() -> None:
    values = torch.tensor([[0.1, 0.4, 0.2], [3.0, -1.0, 2.0], [1.0, 1.0, 1.0]])
    assert largest(values, 2)[:2].tolist() == [[False, True, True], [True, False, True]]
    for k in range(1, 4):
        assert largest(values, k).sum(1).tolist() == [k] * 3  # ties included
