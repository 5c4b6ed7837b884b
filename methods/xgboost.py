"""XGBoost as a field selector: boosted trees on one column per field, ranked by what the trees gain from it.

Chen and Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016. The paper reproduced here names the
method and gives no settings. Variants:

    published    the call of the public ERASE benchmark: 10 trees of depth 6 on codes taken for numbers, mean
                 gain. The order of the codes is arbitrary, and another order gives another ranking.
    sound        trees on the codes of ``methods/parts/target_encoding.py``, stopped early on the selection rows,
                 sum of gains up to the best round.
    categorical  trees that split sets of codes, the rare ones in one category; ranked by the log loss lost on
                 shuffled selection rows, because gain on training rows favours fields of many values.

Of a pooled field ``sound`` reads the mean of its values' codes; the other variants, which read one, are skipped.

``sound`` sees one number a field, and so no field that tells something only beside another; ``categorical`` does, and
may pass over fields of hundreds of values, of which XGBoost considers 64 at a split. The default was chosen by the
validation AUC of a DNN trained anew on half of the fields, three seeds, on data that are not in our tables:

                                         sound    categorical
    movielens-100k, 30,000 rows          .7571    .7194    (without user)
    movielens-latest-small, 30,000 rows  .7555    .7201    (without movie)
    criteo-like, 20,000 rows             .7134    .7090
    planted, 30,000 rows, 32 fields      .7410    .7425

The codes of ``sound`` tell a fold by the click rate of the others, which runs against its own. Forests need that taken
away (``methods/parts/trees.py``); boosted trees that stop early make nothing of it, and keep it. Without it, noise of
10,000 values has .021 of all gain in place of .023, nearly constant noise .004 in place of .002, and true fields .873
in place of .863 (24,000 rows, ten draws). On the data above the DNN gains .0000, .0003, .0004 and -.0020 by it, in the
last for luck: one seed of three finds an interaction with it, another one without.

Deviations: at most ``max_rows`` rows, where the public code takes all; codes come from the train split alone. Of more
than 256 fields ``sound`` cuts each one's codes into 64 ranges, not XGBoost's 256: half the time of a tree.

Shapes: N rows, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from bench.api import Context, Method, Only, Range, Rows, Search, Selection
from methods.parts import boosting, shallow
from methods.parts.target_encoding import encode

if TYPE_CHECKING:
    from xgboost import Booster, DMatrix

_TUNED = Only(variant=("sound", "categorical"))  # published calls XGBoost with its own defaults
_IMPORTANCE = {"published": "gain", "sound": "total_gain", "categorical": "permutation"}
_ROUNDS = {"published": 10, "sound": 500, "categorical": 500}


@dataclass(frozen=True)
class XGBoostParams:
    """Values without a source are chosen here, and were not tuned."""

    variant: Literal["published", "sound", "categorical"] = "sound"
    """How codes become columns; settles ``auto`` and ``none`` below."""
    importance: Literal["auto", "gain", "total_gain", "weight", "permutation"] = "auto"
    """Mean gain of a split, its sum, number of splits, or log loss lost on shuffled selection rows; auto:
    gain for published (ERASE), total_gain for sound, permutation for categorical."""
    max_rows: Annotated[int, Range(100)] = 1_000_000
    """Training rows at most."""
    max_selection_rows: Annotated[int, Range(100)] = 200_000
    """Rows at most for early stopping and permutation."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""
    folds: Annotated[int, Range(2, 100), Only(variant="sound")] = 5
    """Folds of the target encoding."""
    rounds: Annotated[int | None, Range(1)] = None
    """Trees at most; none: 10 for published (ERASE), else 500."""
    depth: Annotated[int, Range(1, 16)] = 6
    """Depth of a tree (XGBoost's default, and so ERASE's)."""
    patience: Annotated[int, Range(1), _TUNED] = 20
    """Rounds without a gain in log loss on the selection rows before growing stops."""
    eta: Annotated[float, Range(0, 1, open_low=True), Search(0.01, 1), _TUNED] = 0.1
    """Shrinkage of a tree; published: XGBoost's default, 0.3."""
    min_child_weight: Annotated[float | None, Range(0), _TUNED] = None
    """Least sum of p(1 - p) in a leaf; none: 50, or a twentieth of the rows' sum where that is less, so that rare
    positives leave room for splits; published: 1."""
    subsample: Annotated[float, Range(0, 1, open_low=True), _TUNED] = 0.8
    """Share of the rows a tree sees; published: 1."""
    colsample: Annotated[float, Range(0, 1, open_low=True), _TUNED] = 0.8
    """Share of the fields a tree sees; published: 1."""
    categories: Annotated[int, Range(2, 65_536), Only(variant="categorical")] = 4096
    """Most frequent values of a field that get a category each; a histogram is as wide as that."""
    repeats: Annotated[int, Range(1)] = 3
    """Shuffles of a field in ``importance=permutation``."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where trees are grown; the CPU by default, so that a ranking does not change with the machine."""


class XGBoost(Method[XGBoostParams]):
    """Ranks fields by the gain of boosted trees."""

    Params = XGBoostParams

    def skip(self, ctx: Context[XGBoostParams]) -> str | None:
        try:
            import xgboost  # noqa: F401, PLC0415 - loaded here, before the clock of the selection runs
        except ImportError:
            return "xgboost is not installed: pip install xgboost"
        if self.params.device == "cuda" and ctx.device.type != "cuda":
            return f"device=cuda, but the run is on {ctx.device.type}; leave the parameter out"
        variant = self.params.variant
        return None if variant == "sound" else shallow.refuse_pooled(ctx.schema, f"variant={variant}")

    def select(self, ctx: Context[XGBoostParams], train: Rows, selection_rows: Rows) -> Selection:
        deadline = shallow.Deadline(self.params.time_budget_s)
        rows = shallow.bound_rows(train, self.params.max_rows, ctx.rng("rows"))
        held = shallow.bound_rows(selection_rows, self.params.max_selection_rows, ctx.rng("selection rows"))
        matrix, held_matrix = self._matrices(ctx, rows, held)
        data, checked = self._histograms(ctx, (matrix, rows), (held_matrix, held))
        del matrix  # trees grow on ranges, which take a quarter of its bytes
        booster, notes = self._grow(ctx, (data, rows), checked, deadline)
        scores = self._scores(ctx, booster, held_matrix, held)
        notes |= {"rows": len(rows), "selection_rows": len(held), "device": self.params.device}
        return Selection(
            scores=scores, hint=None if scores.any() else _no_split(rows, notes), rows_seen=len(rows), notes=notes
        )

    def _weight(self, rows: Rows) -> float:
        """The least sum of p(1 - p) in a leaf."""
        given = self.params.min_child_weight
        return boosting.least_weight(rows) if given is None else given

    def _matrices(self, ctx: Context[XGBoostParams], rows: Rows, held: Rows) -> tuple[np.ndarray, np.ndarray]:
        if self.params.variant == "sound":
            return encode(rows, held, self.params.folds, shallow.draw_number(ctx.rng("folds")))
        if self.params.variant == "published":
            return shallow.code_matrix(rows), shallow.code_matrix(held)
        return shallow.category_matrix(rows, held, self.params.categories)

    def _histograms(
        self, ctx: Context[XGBoostParams], train: tuple[np.ndarray, Rows], held: tuple[np.ndarray, Rows]
    ) -> tuple[DMatrix, DMatrix | None]:
        """Both kinds of rows in ranges of values; the second where it says when to stop."""
        import xgboost  # noqa: PLC0415

        (matrix, rows), variant = train, self.params.variant
        layout: dict[str, Any] = {"nthread": boosting.threads_for(*matrix.shape)}
        if variant == "categorical":
            kinds = ["float" if field.kind == "numeric" else "c" for field in ctx.schema.fields]
            layout |= {"feature_types": kinds, "enable_categorical": True}
        if variant == "sound":
            data = boosting.in_ranges(matrix, shallow.labels_of(rows), **layout)
            layout |= {"max_bin": boosting.bins_for(ctx.schema.n_fields)}
        else:
            data = xgboost.QuantileDMatrix(matrix, shallow.labels_of(rows), **layout)
        if variant == "published":
            return data, None
        return data, xgboost.QuantileDMatrix(held[0], shallow.labels_of(held[1]), ref=data, **layout)

    def _grow(
        self,
        ctx: Context[XGBoostParams],
        train: tuple[DMatrix, Rows],
        checked: DMatrix | None,
        deadline: shallow.Deadline,
    ) -> tuple[Booster, dict[str, Any]]:
        """The trees up to the best round, and the notes on them."""
        import xgboost  # noqa: PLC0415

        p, rounds, (data, rows) = self.params, self.params.rounds or _ROUNDS[self.params.variant], train
        options = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": p.depth}
        threads = boosting.threads_for(len(rows), ctx.schema.n_fields)
        options |= {"nthread": threads, "device": p.device, "seed": shallow.draw_number(ctx.rng("trees"))}
        watch: dict[str, Any] = {"callbacks": [boosting.stop_at(deadline)], "verbose_eval": False}
        if checked is None:
            return xgboost.train(options, data, rounds, **watch), {"rounds": rounds, "threads": threads}
        weight = self._weight(rows)
        options |= {"eta": p.eta, "min_child_weight": weight, "eval_metric": "logloss"}
        options |= {"subsample": p.subsample, "colsample_bytree": p.colsample}
        if p.variant == "sound":
            options |= {"max_bin": boosting.bins_for(ctx.schema.n_fields)}
        watch |= {"evals": [(checked, "selection")], "early_stopping_rounds": p.patience}
        booster = xgboost.train(options, data, rounds, **watch)
        best = booster.best_iteration + 1
        notes = {"rounds": booster.num_boosted_rounds(), "best_round": best, "threads": threads}
        return booster[:best], notes | {"min_child_weight": weight, "selection_logloss": booster.best_score}

    def _scores(self, ctx: Context[XGBoostParams], booster: Booster, held_matrix: np.ndarray, held: Rows) -> np.ndarray:
        """Float64 [F]; shares of 1 unless by permutation; 0 for fields without a split."""
        p = self.params
        importance = _IMPORTANCE[p.variant] if p.importance == "auto" else p.importance
        kind = "weight" if importance == "permutation" else importance
        found = {int(name[1:]): value for name, value in booster.get_score(importance_type=kind).items()}
        if importance == "permutation":
            booster.set_param({"device": "cpu"})  # where the matrix is
            margin, labels = partial(booster.inplace_predict, predict_type="margin"), shallow.labels_of(held)
            generator = ctx.rng("permutation")
            losses = shallow.permutation_importance(margin, held_matrix, labels, list(found), p.repeats, generator)
            return np.asarray(losses.mean(axis=0))
        scores = np.zeros(ctx.schema.n_fields)
        scores[list(found)] = list(found.values())
        return scores / max(float(scores.sum()), np.finfo(float).tiny)


def _no_split(rows: Rows, notes: dict[str, Any]) -> str:
    """Why every score is 0, and what would help."""
    weight = notes.get("min_child_weight")
    least, lower = ("", "") if weight is None else (f" with min_child_weight={weight:.4g}", "lower it or ")
    positives = round(len(rows) * rows.positive_rate)
    return f"no tree found a split{least} on {len(rows):,} rows, {positives:,} positive; {lower}give more rows"
