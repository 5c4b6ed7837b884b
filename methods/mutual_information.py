"""Mutual information of a field and the label, from one pass over the rows, its bias corrected.

    I_f   = Σ_v Σ_y p(v, y) log( p(v, y) / (p(v) p(y)) )     nats, from the shares in the training rows
    score = I_f - d_f / (2 N)                                d_f: values that occur, less one

Shares of few rows always look informative: where value and label are independent, I_f has about the mean d_f / (2 N).
This is the correction of Miller (Note on the Bias of Information Estimates, 1955; the Miller-Madow correction) to the
three entropies of I_f, with a cell counted where value and label both occur, whether or not they occur together. To
count only cells that have rows leaves most of the bias where clicks are rare: a value of 20 rows, of which 1 % are
clicks, adds .70 / (2 N) on average; the first count takes away 1 / (2 N), the second .18 / (2 N).
A score below 0 says less than chance gives.

It looks at fields one at a time: a field and its copy have the same score, and both are kept or dropped; a field that
tells something only beside another has none.

Deviations: Values of fewer than ``min_count`` rows count as one. A number counts as one of ``buckets`` ranges of
equally many rows. Of a pooled field the value is one of the row's, drawn at random; ``methods/parts/contingency.py``
has its d_f.
"""

from __future__ import annotations

from methods.parts.contingency import Table
from methods.parts.filters import LabelFilter


class MutualInformation(LabelFilter):
    """Ranks fields by what their values tell about the label."""

    def score(self, table: Table) -> float:
        return table.corrected_information
