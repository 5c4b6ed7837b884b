from __future__ import annotations

import pytest

from bench.errors import ConfigError
from bench.profiles import PROFILES, SMALL_TRAIN_ROWS, profile_dict, resolve_profile


def test_auto_is_small_below_two_hundred_thousand_training_rows() -> None:
    assert SMALL_TRAIN_ROWS == 200_000
    assert resolve_profile("auto", 199_999, {}).name == "small"
    assert resolve_profile("auto", 200_000, {}).name == "anchor"
    assert resolve_profile("paper", 10, {}).name == "paper"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", (3e-4, 1e-5, 4096, 20, 1, None, None, 10, 1e-2, 0.0, (100, 100), True)),
        ("anchor", (1e-3, 1e-5, 4096, 50, 2, 0.1, 10.0, 10, 1e-4, 0.1, (16, 16), False)),
        ("small", (1e-3, 1e-2, 256, 20, 3, 0.3, None, 8, 1e-2, 0.1, (16, 16), False)),
    ],
)
def test_the_protocol_s_profiles(name: str, expected: tuple[object, ...]) -> None:
    p = PROFILES[name]
    assert expected == (
        p.lr, p.l2, p.batch_size, p.max_epochs, p.patience, p.lr_decay, p.clip_norm, p.dim, p.init_std, p.dropout,
        p.cin, p.cin_split,
    )  # fmt: skip
    assert p.mlp == (400, 400, 200)


def test_a_card_sets_embedding_size_and_l2_of_the_profiles_it_names() -> None:
    card = {"embedding_dim": {"paper": 64, "small": 16}, "l2": {"anchor": 0.0}, "evaluate_every": 0.5}
    paper, anchor, small = (resolve_profile(name, 1, card) for name in ("paper", "anchor", "small"))
    assert (paper.dim, anchor.dim, small.dim) == (64, 10, 16)
    assert (paper.l2, anchor.l2, small.l2) == (PROFILES["paper"].l2, 0.0, PROFILES["small"].l2)
    assert (paper.evaluate_every, anchor.evaluate_every, small.evaluate_every) == (1.0, 0.5, 0.5)  # where rates fall


def test_epochs_replace_the_profile_s() -> None:
    three = resolve_profile("small", 1, {}, {"max_epochs": 3})
    assert profile_dict(three) == profile_dict(PROFILES["small"]) | {"max_epochs": 3}
    with pytest.raises(ConfigError, match="epochs=0"):
        resolve_profile("small", 1, {}, {"max_epochs": 0})


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"profile='smal' is unknown\. Did you mean 'small'\?"):
        resolve_profile("smal", 1, {})
