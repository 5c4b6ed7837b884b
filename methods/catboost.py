"""CatBoost: fields eliminated one after the other by what a boosted model would lose without them, by SHAP values.

Prokhorenkova, Gusev, Vorobev, Dorogush and Gulin, CatBoost: Unbiased Boosting with Categorical Features, NeurIPS 2018
(arXiv:1706.09516); the elimination is CatBoost's own ``select_features`` with ``RecursiveByShapValues``, which
engineers use as it comes. A model is grown with all fields; of each field its SHAP values tell how the loss on the
selection rows would change without it; the least harmful ones go, one by one, until the share of the step has gone;
then a model is grown anew with the rest, ``steps`` times in all.

    score_f  fields that went before f; F - 1 for the one that is left

Codes are categories: CatBoost counts clicks of a value by rows that come before in a random order, so that the order
of codes means nothing and no row sees its own label. Numeric fields stay numbers. CatBoost reads one value a row and
field: on data with pooled fields the method has no part.

The package is an extra: ``pip install 'ctr-field-bench[catboost]'``. Where it is missing, cells are skipped.

Departures: at most ``max_rows`` rows; the number of trees is ours, stopped early on the selection rows; fields go down
to one, so that one order serves every prune ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch

from bench.api import Context, Method, Range, Rows, Selection
from methods.parts import shallow

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CatBoostParams:
    """Values without a source are chosen here, and were not tuned."""

    steps: Annotated[int, Range(1, 1000)] = 3
    """Models grown while fields go; CatBoost's default is 1."""
    trees: Annotated[int, Range(1, 100_000)] = 200
    """Trees at most (CatBoost's default: 1,000)."""
    patience: Annotated[int, Range(1)] = 20
    """Trees without a gain in log loss on the selection rows before growing stops."""
    depth: Annotated[int, Range(1, 16)] = 6
    """Depth of a tree (CatBoost's default)."""
    max_rows: Annotated[int, Range(100)] = 200_000
    """Training rows at most."""
    max_selection_rows: Annotated[int, Range(100)] = 50_000
    """Rows at most on which growing is stopped and losses are compared."""


class CatBoost(Method[CatBoostParams]):
    """Ranks fields by the order in which CatBoost lets them go."""

    Params = CatBoostParams

    def skip(self, ctx: Context[CatBoostParams]) -> str | None:
        try:
            import catboost  # noqa: F401, PLC0415 - loaded here, before the clock of the selection runs
        except ImportError:
            return "catboost is not installed: pip install 'ctr-field-bench[catboost]'"
        return "there is one field only, which nothing can be compared with" if ctx.schema.n_fields == 1 else None

    def select(self, ctx: Context[CatBoostParams], train: Rows, selection_rows: Rows) -> Selection:
        import catboost  # noqa: PLC0415

        p, schema = self.params, ctx.schema
        rows = shallow.bound_rows(train, p.max_rows, ctx.rng("rows"))
        held = shallow.bound_rows(selection_rows, p.max_selection_rows, ctx.rng("selection rows"))
        categories = [f for f, field in enumerate(schema.fields) if field.kind != "numeric"]
        seen = len(rows) + len(held)
        if hint := _nothing(rows):
            return Selection(scores=np.zeros(schema.n_fields), rows_seen=seen, hint=hint)
        pools = [catboost.Pool(_frame(one), shallow.labels_of(one), cat_features=categories) for one in (rows, held)]
        model = catboost.CatBoostClassifier(
            iterations=p.trees,
            depth=p.depth,
            early_stopping_rounds=p.patience,
            random_seed=shallow.draw_number(ctx.rng("trees")),
            thread_count=torch.get_num_threads(),
            allow_writing_files=False,
            logging_level="Silent",
        )
        found: dict[str, Any] = model.select_features(
            pools[0],
            eval_set=pools[1],
            features_for_select=list(range(schema.n_fields)),
            num_features_to_select=1,
            steps=min(p.steps, schema.n_fields - 1),  # a step lets one field go at least
            algorithm=catboost.EFeaturesSelectionAlgorithm.RecursiveByShapValues,
            train_final_model=False,
            logging_level="Silent",
        )
        scores = np.empty(schema.n_fields)
        scores[[*found["eliminated_features"], *found["selected_features"]]] = np.arange(schema.n_fields)
        notes = {"catboost_version": catboost.__version__, "elimination_rows": len(rows)}
        return Selection(scores=scores, rows_seen=seen, notes=notes)


def _nothing(rows: Rows) -> str | None:
    """Why there is nothing that CatBoost, which refuses such rows, could learn from them."""
    if rows.positive_rate in (0, 1):
        return f"the labels of all {len(rows):,} rows are {rows.positive_rate:.0f}; give more"
    columns = [rows.ids] if rows.numeric is None else [rows.ids, rows.numeric]
    if any(bool((one != one[:1]).any()) for one in columns):
        return None
    return f"no field has two values on {len(rows):,} rows; give more"


def _frame(rows: Rows) -> pd.DataFrame:
    """The rows by field: codes as whole numbers, which CatBoost takes for categories, and numbers."""
    import pandas as pd  # noqa: PLC0415

    codes, schema = shallow.local_codes(rows), rows.schema
    columns: dict[int, np.ndarray] = {f: codes[:, f] for f in range(schema.n_fields)}
    if rows.numeric is not None:
        numbers = rows.numeric.cpu().numpy()
        columns |= {f: numbers[:, place] for place, f in enumerate(schema.numeric_fields)}
    return pd.DataFrame(columns)
