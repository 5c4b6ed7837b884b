"""Cramér's V of a field and the label, its bias corrected.

    φ²_f  = (1 / N) Σ_v (c_v - n_v G)² / (n_v G (1 - G))     n_v rows and c_v clicks of value v, G the share of clicks
    score = √( max(0, φ²_f - d_f / (N - 1)) / (1 - 1 / (N - 1)) )

Cramér, Mathematical Methods of Statistics, 1946; the correction is Bergsma's (A Bias-Correction for Cramér's V and
Tschuprow's T, Journal of the Korean Statistical Society 42, 2013), of which the second line is the case of two labels.
d_f is what N φ²_f comes to on average where value and label are independent: values that occur, less one. Without the
correction the field of the most values comes first. A field that tells no more than chance scores 0.

It looks at fields one at a time: a field and its copy have the same score, and both are kept or dropped; a field that
tells something only beside another has none.

Deviations: Values of fewer than ``min_count`` rows count as one. A number counts as one of ``buckets`` ranges of
equally many rows. Of a pooled field the value is one of the row's, drawn at random; ``methods/parts/contingency.py``
has its d_f.
"""

from __future__ import annotations

from bench.api import corrected_v
from methods.parts.contingency import Table
from methods.parts.filters import LabelFilter


class CramersV(LabelFilter):
    """Ranks fields by how far their values' click rates lie apart."""

    def score(self, table: Table) -> float:
        values = len(table.counts)
        if not table.freedom or values == table.rows:
            return 0.0
        return corrected_v(table.phi2, (values, 2), table.rows, table.freedom)
