"""A first mask over embedding scalars from a nonnegative factorisation of what occurs together.

    C± [V, A]     rows with label 1 (0) in which a value and an anchor, one of the A most frequent values, both occur;
                  0 where both belong to one field
    P± = max(0, log(C_va · Σ_a n_a^¾ / (n_v · n_a^¾)))        n_v, n_a: sums of a row and of a column of C±
    [P₊ | P₋] ≈ H G,  H, G ≥ 0,  rank D                        least squares, coordinate descent from NNDSVDa
    s_vd = H_vd / ‖H_v‖^γ                                      γ = 0: popular values take all; 1: all rows are equal

The K scalars with the largest s are active, after the best of each row. Values that the sample does not hold have the
same share of their scalars by lot; the one row of a numeric field, which every row of data looks up, has all.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench.api import Rows, stratified_sample
from methods.parts.value_gates import field_of_values, frequencies
from methods.parts.weight_sparsity import largest

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SMOOTHED = 0.75
"""Power of the anchors' frequencies (Levy et al., TACL 2015)."""
LOOKUPS = 20_000_000
"""Values in all rows of the sample together, at most, each of which takes some 40 bytes. Chosen here."""


@dataclass(frozen=True)
class Factors:
    """How the matrix is made and factorised."""

    rows: int
    """Rows of data, at most."""
    anchors: int
    """A, at most."""
    evenness: float
    """γ."""
    sweeps: int
    """Passes of coordinate descent."""

    def sampled(self, rows: Rows) -> int:
        """How many of ``rows`` the matrix is made of: fewer where they are wide, for it is held value by value."""
        return max(1, min(self.rows, len(rows), LOOKUPS // len(rows.schema.column_fields)))


def nmf_mask(rows: Rows, dim: int, active: int, how: Factors, draw: torch.Generator) -> Tensor:
    """The first mask of a table [V, D] with so many ``active`` scalars: bool [V, D], on the CPU."""
    chosen = stratified_sample(rows.labels, how.sampled(rows), draw).to(rows.device)
    sample = rows.take(chosen)
    counts = frequencies(sample).cpu()
    numeric = torch.zeros(len(counts), dtype=torch.bool)
    numeric[torch.from_numpy(sample.schema.offsets[list(sample.schema.numeric_fields)])] = True
    factors = _factorised(_affinity(sample, counts, numeric, how.anchors), dim, how.sweeps, draw)
    score = factors / (factors.norm(dim=1, keepdim=True) ** how.evenness).clamp(min=1e-12)
    noise = torch.rand(score.shape, generator=draw, dtype=torch.float64)
    score = score / score.max().clamp(min=1e-12) + 1e-6 * noise  # a third of the factors are zero, and would tie
    score.scatter_add_(1, score.argmax(1, keepdim=True), torch.ones_like(score[:, :1]) * 2)
    score[numeric] += 4
    return _cut(score, (counts > 0) | numeric, active, noise)


def _cut(score: Tensor, seen: Tensor, active: int, noise: Tensor) -> Tensor:
    """Exactly ``active`` scalars: of the rows ``seen`` by ``score``, of others their share by lot."""
    dim = score.shape[1]
    unseen = int((~seen).sum()) * dim
    by_lot = active * unseen // score.numel()
    mask = torch.zeros(score.shape, dtype=torch.bool)
    for rows, values, k in ((seen, score, active - by_lot), (~seen, noise, by_lot)):
        part = torch.zeros(int(rows.sum()) * dim, dtype=torch.bool)
        mask[rows] = part.index_fill_(0, largest(values[rows].view(-1), k), True).view(-1, dim)
    return mask


def _affinity(rows: Rows, counts: Tensor, numeric: Tensor, most: int) -> csr_array:
    """[P₊ | P₋], float32 [V, 2 A]."""
    from scipy.sparse import hstack  # noqa: PLC0415 - slow to import

    anchors = largest(counts.masked_fill(numeric, 0), min(most, len(counts))).numpy()
    fields = field_of_values(rows.schema, torch.device("cpu")).numpy()
    parts = []
    for positive in (True, False):
        present = _present(rows.take(((rows.labels > 0.5) == positive).nonzero().view(-1)))
        together = (present.T @ present[:, anchors]).tocoo()
        apart = fields[together.row] != fields[anchors[together.col]]
        parts.append(_ppmi(together.row[apart], together.col[apart], together.data[apart], together.shape))
    return hstack(parts, format="csr")


def _present(rows: Rows) -> csr_array:
    """Which values occur in which rows, float64 [N, V]."""
    from scipy.sparse import csr_array  # noqa: PLC0415

    ids, where = rows.ids.cpu().numpy(), np.arange(len(rows))
    columns, places = [ids.ravel()], [where.repeat(ids.shape[1])]
    if rows.pooled is not None:
        further = rows.pooled.cpu().numpy()
        there = further != rows.schema.padding
        columns.append(further[there])
        places.append(np.nonzero(there)[0])
    found, at = np.concatenate(columns), np.concatenate(places)
    return csr_array((np.ones(len(found)), (at, found)), shape=(len(rows), rows.schema.vocabulary_rows))


def _ppmi(row: np.ndarray, column: np.ndarray, count: np.ndarray, shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import csr_array  # noqa: PLC0415

    of_rows = np.bincount(row, count, shape[0])
    of_columns = np.bincount(column, count, shape[1]) ** SMOOTHED
    found = np.log(count * of_columns.sum() / (of_rows[row] * of_columns[column]))
    held = found > 0
    return csr_array((found[held].astype(np.float32), (row[held], column[held])), shape=shape)


def _factorised(matrix: csr_array, dim: int, sweeps: int, draw: torch.Generator) -> Tensor:
    """H, float64 [V, D]; columns beyond the rank that the matrix allows are zero."""
    from sklearn.decomposition import NMF  # noqa: PLC0415
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

    factors = torch.zeros(matrix.shape[0], dim, dtype=torch.float64)
    filled = np.flatnonzero(np.diff(matrix.indptr))
    rank = min(dim, len(filled), matrix.shape[1])
    seed = int(torch.randint(2**31 - 1, (), generator=draw))
    if rank == 0:
        return factors
    found: Any = NMF(rank, init="nndsvda", max_iter=sweeps, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the sweeps are as many as were asked for
        factors[torch.from_numpy(filled), :rank] = torch.from_numpy(found.fit_transform(matrix[filled])).double()
    return factors
