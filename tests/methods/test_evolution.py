from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.parts.evolution import Breeding, Genes, cross, effects, evolve, mutate, uniform

PLAN = Breeding(generations=12, mutations=6, crossovers=6, mutation_rate=0.2, elites=4)
TARGET = (3, 1, 5, 2, 4)


def distance(genes: Genes) -> float:
    return -float(sum(abs(a - b) for a, b in zip(genes, TARGET, strict=True)))


def all_equal(seen: list[Genes]) -> Callable[[Genes], float]:
    """A fitness that writes down what it is asked and likes everything the same."""

    def fitness(genes: Genes) -> float:
        seen.append(genes)
        return 1.0

    return fitness


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_best_is_what_was_scored_and_no_candidate_is_scored_twice() -> None:
    seen: list[tuple[Genes, float]] = []

    def fitness(genes: Genes) -> float:
        seen.append((genes, distance(genes)))
        return seen[-1][1]

    found = evolve(PLAN, (5, 5), fitness, draw())
    assert len({genes for genes, _ in seen}) == len(seen) == found.evaluated <= 12 * 12
    assert (found.genes, found.score) in seen
    assert found.score == max(score for _, score in seen) == distance(found.genes)
    assert all(distance(genes) == score for genes, score in seen)  # nobody changed after its score
    assert all(1 <= gene <= 5 for genes, _ in seen for gene in genes)
    assert len(found.history) == 12
    assert list(found.history) == sorted(found.history)
    assert found.history[-1] == found.score
    assert list(found.tried) == seen


def test_it_gets_better_than_its_first_generation_and_finds_an_easy_optimum() -> None:
    found = evolve(replace(PLAN, generations=60), (5, 5), distance, draw())
    assert found.history[0] < found.score == 0
    assert found.genes == TARGET


def test_a_seed_decides_the_search() -> None:
    first, again, other = (evolve(PLAN, (5, 5), distance, draw(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_of_equal_candidates_the_first_is_returned() -> None:
    seen: list[Genes] = []
    found = evolve(PLAN, (5, 5), all_equal(seen), draw())
    assert found.genes == seen[0]


def test_only_admitted_candidates_are_scored() -> None:
    def admit(genes: Genes) -> Genes:
        return (*genes[:-1], 5)

    seen: list[Genes] = []
    evolve(PLAN, (5, 5), all_equal(seen), draw(), admit)
    assert {genes[-1] for genes in seen} == {5}


def test_the_elites_alone_breed() -> None:
    """With one elite and no mutation a crossover is its copy: nothing is scored after the first generation."""
    plan = Breeding(generations=9, mutations=3, crossovers=4, mutation_rate=0, elites=1)
    assert evolve(plan, (6, 8), lambda genes: float(sum(genes)), draw()).evaluated == 7


def test_a_mutation_redraws_genes_at_its_rate_and_reaches_every_value() -> None:
    parent, generator = (4,) * 2000, draw()
    child = mutate(parent, 8, 0.1, generator)
    changed = [gene for gene in child if gene != 4]
    assert parent == (4,) * 2000
    assert 0.06 < len(changed) / 2000 < 0.12  # a tenth is drawn anew, an eighth of which falls on 4 again
    assert set(changed) == {1, 2, 3, 5, 6, 7, 8}
    assert mutate(parent, 8, 0.0, generator) == parent
    assert set(mutate(parent, 8, 1.0, generator)) == set(range(1, 9))


def test_a_crossover_cuts_anywhere_between_two_fields() -> None:
    first, second, generator = (1,) * 5, (2,) * 5, draw()
    found = {cross(first, second, generator) for _ in range(200)}
    assert found == {(1,) * n + (2,) * (5 - n) for n in range(1, 5)}
    assert cross((7,), (8,), generator) == (7,)


def test_the_first_generation_is_uniform() -> None:
    genes = uniform(8000, 4, draw())
    counts = torch.bincount(torch.tensor(genes)).tolist()
    assert counts[0] == 0
    assert all(abs(n - 2000) < 200 for n in counts[1:])  # five standard deviations of 39


def test_a_search_of_one_gene_sees_all_its_values() -> None:
    plan = replace(PLAN, generations=20)
    best = evolve(plan, (1, 3), lambda genes: {1: 0.0, 2: 5.0, 3: 1.0}[genes[0]], draw())
    assert (best.genes, best.score, best.evaluated) == ((2,), 5.0, 3)


def test_effects_are_halved_where_genes_are_uniform_and_independent() -> None:
    grid = [(a, b) for a in (1, 2, 3, 4) for b in (1, 2, 3, 4)]
    tried = [((a, b, 2), 0.5 + 0.04 * a - 0.02 * b) for a, b in grid]
    assert effects(tried, 4) == pytest.approx([0.02, -0.01, 0])
    assert effects([(genes, 0.5) for genes, _ in tried], 4).tolist() == [0, 0, 0]
    assert effects([((1, 1), 0.5), ((1, 1), 0.6)], 1).tolist() == [0, 0]


def test_genes_that_vary_together_share_an_effect() -> None:
    found = effects([((a, a), float(a)) for a in (1, 2, 3)], 3)
    assert found == pytest.approx(np.full(2, 1 / 3))  # 2 / (2 + 2 + 2): ridge and both genes weigh the same
