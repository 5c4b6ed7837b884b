"""Paths of penalised logistic regression against their optimality conditions, and on problems solved by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from methods.parts import penalised
from methods.parts.penalised import Column, Path, Values, group_path


def never(doing: str) -> None:
    """A clock that does not run out."""


def standard(matrix: np.ndarray) -> np.ndarray:
    return ((matrix - matrix.mean(axis=0)) / matrix.std(axis=0)).astype(np.float32)


def with_ones(matrix: np.ndarray) -> np.ndarray:
    return np.asfortranarray(np.column_stack([matrix, np.ones(len(matrix), dtype=np.float32)]))


def l1_path(matrix: np.ndarray, *rest: Any) -> Path:
    return penalised.l1_path(with_ones(matrix), *rest)


def linear_problem(n: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six correlated columns; the first three matter."""
    rng = np.random.default_rng(seed)
    matrix = standard(rng.normal(size=(n, 6)) @ (np.eye(6) + 0.3))
    return matrix, (rng.random(n) < expit(matrix[:, :3] @ [1.0, -0.6, 0.3] - 1)).astype(np.float32)


def test_l1_starts_where_every_field_is_closed() -> None:
    matrix, labels = linear_problem()
    path = l1_path(matrix, labels, 5, 0.01, never)
    # At β = 0 the intercept is the share of positives; |gradient| of a closed field is below the penalty.
    gradient = matrix.T.astype(np.float64) @ (labels - labels.mean(dtype=np.float64)) / len(labels)
    assert path.penalties[0] == pytest.approx(np.abs(gradient).max(), rel=1e-5)
    np.testing.assert_allclose(path.penalties / path.penalties[0], [1, 10**-0.5, 0.1, 10**-1.5, 0.01])
    assert path.sizes[0].max() < 1e-3
    closed = l1_path(matrix, labels, 2, 0.999999, never)
    assert (closed.sizes[1] > 0).sum() <= 1


@pytest.mark.parametrize("step", [1, 3, 5])
def test_l1_agrees_with_scikit_learn(step: int) -> None:
    matrix, labels = linear_problem()
    path = l1_path(matrix, labels, 6, 0.01, never)
    # scikit-learn: sum of losses + 1/C · |β|, so C = 1 / (N λ); the intercept of saga is not penalised.
    reference = LogisticRegression(
        l1_ratio=1.0, C=1 / (len(labels) * path.penalties[step]), solver="saga", tol=1e-7, max_iter=5000
    )
    reference.fit(matrix.astype(np.float64), labels)
    np.testing.assert_allclose(path.sizes[step], np.abs(reference.coef_[0]), atol=2e-4)
    assert ((path.sizes[step] > 0) == (reference.coef_[0] != 0)).all()


def test_l1_stands_constant_columns_equal_labels_and_separable_rows() -> None:
    matrix, labels = linear_problem(200)
    matrix[:, 5] = 0
    path = l1_path(matrix, labels, 10, 1e-3, never)
    assert path.sizes[:, 5].max() == 0
    assert l1_path(matrix, np.zeros_like(labels), 10, 1e-3, never).scores().tolist() == [0] * 6
    groups = [Values(np.arange(200) % 7, 7), Values(np.zeros(200, dtype=np.int64), 1), Column(matrix[:, 5])]
    assert group_path(groups, np.zeros_like(labels), 10, 1e-3, never).scores().tolist() == [0] * 3
    assert group_path(groups[1:], labels, 10, 1e-3, never).scores().tolist() == [0] * 2
    separable = (matrix[:, 0] > 0).astype(np.float32)
    found = l1_path(matrix, separable, 30, 1e-3, never)
    assert np.isfinite(found.sizes).all()
    assert found.scores().argmax() == 0


def wide_problem(n: int = 1500, f: int = 60, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Correlated columns, of which every tenth matters, and one that is constant."""
    rng = np.random.default_rng(seed)
    matrix = standard(rng.normal(size=(n, f)) + 0.7 * rng.normal(size=(n, 1)))
    matrix[:, 7] = 0
    labels = (rng.random(n) < expit(matrix[:, ::10] @ np.linspace(1.0, -0.5, len(range(0, f, 10))) - 1)).astype(
        np.float32
    )
    return np.asfortranarray(matrix), labels


def test_columns_that_are_set_aside_change_nothing_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the minimum over all columns, at which a closed one has a gradient below the penalty."""
    matrix, labels = wide_problem()
    design = with_ones(matrix)
    together = penalised.l1_path(design, labels, 12, 0.02, never)
    np.testing.assert_array_equal(design, with_ones(matrix))
    monkeypatch.setattr(penalised, "NARROW", 8)
    screened = penalised.l1_path(design, labels, 12, 0.02, never)
    np.testing.assert_allclose(screened.penalties, together.penalties)
    np.testing.assert_allclose(screened.sizes, together.sizes, atol=5e-4)
    # At the first penalty the gradient of one field is the penalty, and rounding says whether it is open.
    np.testing.assert_array_equal(screened.sizes[1:] > 0, together.sizes[1:] > 0)
    assert 20 < (together.sizes[-1] > 0).sum() < 60


def test_few_columns_are_worked_on_while_few_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penalised, "NARROW", 8)
    matrix, labels = wide_problem()
    design = with_ones(matrix)
    state = penalised._L1(design, labels)
    state.solve(state.first, state.first)
    assert state.width == 2  # the ones and one field
    state.solve(0.8 * state.first, state.first)
    assert np.count_nonzero(state.beta) <= state.width < 20
    # No copy is made of the design: its columns have changed places.
    assert state.design is design
    np.testing.assert_array_equal(design, with_ones(matrix)[:, state.order])
    assert sorted(state.order.tolist()) == list(range(61))


def test_what_the_rule_leaves_out_wrongly_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penalised, "NARROW", 8)
    matrix, labels = wide_problem()
    state = penalised._L1(with_ones(matrix), labels)
    state.slopes[:] = 0  # the rule now expects every column to stay closed
    penalty = 0.3 * state.first
    state.solve(penalty, 0.31 * state.first)
    weights = np.zeros(61)
    weights[state.order] = state.beta
    beta = weights[:60]
    residual = expit(matrix.astype(np.float64) @ beta + weights[60]) - labels
    assert residual.mean() == pytest.approx(0, abs=1e-4)
    gradient = matrix.T.astype(np.float64) @ residual / len(labels)
    opened = beta != 0
    assert 0 < opened.sum() < 40
    np.testing.assert_allclose(gradient[opened], -penalty * np.sign(beta[opened]), atol=1e-4)
    assert np.abs(gradient[~opened]).max() <= penalty + 1e-6


def test_curvature_of_new_columns_beside_known_ones_is_that_of_all() -> None:
    matrix, _ = wide_problem(400, 30)
    weight = np.random.default_rng(0).random(400)
    rows = matrix.astype(np.float64)
    expected = rows.T @ (rows * weight[:, None]) / 400
    none = np.empty((0, 0))
    known = penalised._hessian(matrix[:, :11], weight, none)
    np.testing.assert_allclose(penalised._hessian(matrix, weight, none), expected, atol=1e-6)
    np.testing.assert_allclose(penalised._hessian(matrix, weight, known), expected, atol=1e-6)


def test_scores_are_the_step_of_entry_and_then_the_last_size() -> None:
    sizes = np.array([[0, 0, 0, 0], [0.5, 0, 0, 0], [0.7, 0.2, 0.3, 0]])
    # Three steps: entry at the second counts 2, at the third 1, never 0; last sizes over 1 + their maximum.
    expected = np.array([2, 1, 1, 0]) + np.array([0.7, 0.2, 0.3, 0]) / 1.7
    np.testing.assert_allclose(Path(np.array([4.0, 2.0, 1.0]), sizes).scores(), expected)


def grouped_problem(n: int = 4000, seed: int = 0) -> tuple[list[Values], np.ndarray, np.ndarray]:
    """Fields of 5, 40, 12 and 300 values; the first two have effects."""
    rng = np.random.default_rng(seed)
    sizes = (5, 40, 12, 300)
    codes = np.stack([rng.integers(0, size, n) for size in sizes], axis=1)
    margin = sum(rng.normal(size=size)[codes[:, f]] for f, size in enumerate(sizes[:2]))
    labels = (rng.random(n) < expit(np.asarray(margin) - 1)).astype(np.float64)
    return [Values(codes[:, f], size) for f, size in enumerate(sizes)], codes, labels


def test_a_group_s_columns_are_orthonormal() -> None:
    groups, codes, _ = grouped_problem()
    for f, group in enumerate(groups):
        dense = np.stack([group.margin(row) for row in np.eye(group.width)], axis=1)  # [N, V]
        np.testing.assert_allclose(dense.T @ dense / len(codes), np.eye(group.width), atol=1e-12)
        assert group.freedom == len(np.unique(codes[:, f])) - 1
        residual = np.random.default_rng(1).normal(size=len(codes))
        np.testing.assert_allclose(group.gradient(residual), dense.T @ residual / len(codes), atol=1e-12)


def test_the_first_group_penalty_is_the_largest_root_mean_square_deviation() -> None:
    """At θ = 0 the gradient of value v is (clicks - n_v G) / sqrt(N n_v): its square is N times Pearson's term."""
    groups, codes, labels = grouped_problem()
    rate, n = labels.mean(), len(labels)
    entry = []
    for f, group in enumerate(groups):
        counts, clicks = np.bincount(codes[:, f]), np.bincount(codes[:, f], labels)
        entry.append(np.sqrt(((clicks - counts * rate) ** 2 / counts).sum() / n / group.freedom))
    path = group_path(groups, labels, 2, 0.5, never)
    assert path.penalties[0] == pytest.approx(max(entry))
    assert path.sizes[0].tolist() == pytest.approx([0] * 4, abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_groups_meet_the_optimality_conditions(share: float) -> None:
    from methods.parts.penalised import _Groups

    groups, _, labels = grouped_problem()
    state = _Groups(groups, labels)
    penalty = share * float(state.entry_penalties().max())
    state.solve(penalty, 2000)
    residual = expit(state.margin) - labels
    assert abs(residual.mean()) < 1e-3
    closed = []
    for group, theta, weight in zip(groups, state.theta, state.weights, strict=True):
        gradient, length = group.gradient(residual), np.linalg.norm(theta)
        closed.append(length == 0)
        if length == 0:
            assert np.linalg.norm(gradient) <= penalty * weight + 1e-3
        else:
            np.testing.assert_allclose(gradient, -penalty * weight * theta / length, atol=1e-3)
    # Penalties above the level of noise, sqrt(p (1 - p) / N), close what has no effect and leave what has.
    noise = np.sqrt(labels.mean() * (1 - labels.mean()) / len(labels))
    assert closed[2:] == [penalty > 1.2 * noise] * 2
    assert not closed[0]


def test_the_fields_without_effect_stay_closed_along_the_path() -> None:
    groups, _, labels = grouped_problem()
    path = group_path(groups, labels, 20, 0.05, never)
    scores = path.scores()
    assert set(np.argsort(-scores)[:2].tolist()) == {0, 1}
    noise = np.sqrt(labels.mean() * (1 - labels.mean()) / len(labels))
    quiet = path.penalties > 1.2 * noise
    assert quiet.sum() >= 5
    assert (path.sizes[quiet][:, 2:] == 0).all()
    assert (path.sizes[quiet][-1, :2] > 0).all()


def test_a_numeric_field_is_a_group_of_one_column() -> None:
    matrix, labels = linear_problem()
    groups = [Column(matrix[:, f]) for f in range(3)]
    grouped = group_path(groups, labels, 6, 0.05, never, sweeps=3000)
    alone = l1_path(matrix[:, :3], labels, 6, 0.05, never)  # sqrt(df) = 1: the same problem
    np.testing.assert_allclose(grouped.penalties, alone.penalties, rtol=1e-5)
    np.testing.assert_allclose(grouped.sizes, alone.sizes, atol=0.02)


@pytest.mark.parametrize("kind", ["l1", "group"])
def test_the_check_can_end_a_path(kind: str) -> None:
    steps: list[str] = []

    def check(doing: str) -> None:
        steps.append(doing)
        if len(steps) == 3:
            raise TimeoutError(doing)

    with pytest.raises(TimeoutError, match="penalty 3 of 9"):
        if kind == "l1":
            l1_path(*linear_problem(300), 9, 0.1, check)
        else:
            groups, _, labels = grouped_problem(300)
            group_path(groups, labels, 9, 0.1, check)
    assert steps == [f"penalty {n} of 9" for n in (1, 2, 3)]
