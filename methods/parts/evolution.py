"""Evolutionary search for a vector of whole numbers in 1, ..., high.

A candidate is a tuple: scoring, recording and breeding cannot change it, so what is returned is what was scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Genes = tuple[int, ...]


@dataclass(frozen=True)
class Breeding:
    """How many candidates a search tries, and how each generation is made from the best so far."""

    generations: int
    mutations: int
    """Candidates of a generation that are mutated copies of one of the elites."""
    crossovers: int
    """Candidates of a generation that take their first genes from one elite and the rest from another."""
    mutation_rate: float
    """Probability that a gene is drawn anew."""
    elites: int
    """Best candidates so far that breed."""


@dataclass(frozen=True)
class Found:
    """The best candidate and how it was found."""

    genes: Genes
    score: float
    evaluated: int
    """Candidates scored; one that comes again is not scored again."""
    history: tuple[float, ...]
    """Best score after each generation."""
    tried: tuple[tuple[Genes, float], ...]
    """Every candidate that was scored, with its score, in the order of scoring."""


def evolve(
    plan: Breeding,
    space: tuple[int, int],
    fitness: Callable[[Genes], float],
    draw: torch.Generator,
    admit: Callable[[Genes], Genes] = lambda genes: genes,
) -> Found:
    """Search for the candidate with the highest fitness; of equals the first one found.

    Args:
        plan: sizes and rates; the first generation is drawn uniformly.
        space: number of genes, and the largest value of one.
        fitness: score of a candidate, higher is better.
        draw: all of the search's randomness (CPU).
        admit: turns a new candidate into one that is allowed.
    """
    n, high = space
    scored: dict[Genes, float] = {}
    ranked: list[Genes] = []
    history = []
    for _ in range(plan.generations):
        if ranked:
            parents = ranked[: plan.elites]
            young = [mutate(pick(parents, draw), high, plan.mutation_rate, draw) for _ in range(plan.mutations)]
            young += [cross(pick(parents, draw), pick(parents, draw), draw) for _ in range(plan.crossovers)]
        else:
            young = [uniform(n, high, draw) for _ in range(plan.mutations + plan.crossovers)]
        for genes in map(admit, young):
            if genes not in scored:
                scored[genes] = fitness(genes)
        ranked = sorted(scored, key=lambda genes: -scored[genes])
        history.append(scored[ranked[0]])
    return Found(ranked[0], scored[ranked[0]], len(scored), tuple(history), tuple(scored.items()))


def effects(tried: Sequence[tuple[Genes, float]], high: int) -> np.ndarray:
    """What one more of each gene adds to a score, by ridge regression over scored candidates; float64 [genes].

    The ridge weighs as much as all candidates would if their genes were uniform, n (high² - 1) / 12: the effect of such
    a gene is halved, and that of genes that have hardly varied, or only together, is near zero.
    """
    genes, scores = np.array([found for found, _ in tried], dtype=float), np.array([score for _, score in tried])
    genes, scores = genes - genes.mean(0), scores - scores.mean()
    ridge = len(tried) * max(high**2 - 1, 1) / 12
    gram = genes.T @ genes + ridge * np.eye(genes.shape[1])
    return np.asarray(np.linalg.solve(gram, genes.T @ scores))


def uniform(n: int, high: int, draw: torch.Generator) -> Genes:
    """A candidate of ``n`` independent, uniform genes."""
    return tuple(torch.randint(1, high + 1, (n,), generator=draw).tolist())


def pick(parents: list[Genes], draw: torch.Generator) -> Genes:
    return parents[int(torch.randint(len(parents), (), generator=draw))]


def mutate(genes: Genes, high: int, rate: float, draw: torch.Generator) -> Genes:
    """A copy with every gene drawn anew from 1, ..., ``high`` with probability ``rate``."""
    changed = (torch.rand(len(genes), generator=draw) < rate).tolist()
    fresh = uniform(len(genes), high, draw)
    return tuple(new if change else old for old, new, change in zip(genes, fresh, changed, strict=True))


def cross(first: Genes, second: Genes, draw: torch.Generator) -> Genes:
    """The first genes of one parent and the others of the second; both give at least one where there are two."""
    point = int(torch.randint(1, max(2, len(first)), (), generator=draw))
    return first[:point] + second[point:]
