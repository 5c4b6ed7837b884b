"""Feature-selection methods: one file each, one line here. The order is the row order of every table."""

from __future__ import annotations

from bench.api import MethodEntry

TABLE: dict[str, MethodEntry] = {
    "no-selection": MethodEntry(
        target="methods.no_selection:NoSelection",
        title="No Selection",
        family="baseline",
        granularity="none",
        scores="none",
        uses_tau=False,
        depends_on=frozenset(),
        paper=True,
    ),
    "lasso": MethodEntry(
        target="methods.lasso:Lasso",
        title="Lasso",
        citation="Tibshirani, JRSS B 1996",
        family="shallow",
        depends_on=frozenset({"seed"}),
        paper=True,
    ),
    "pca": MethodEntry(
        target="methods.pca:PCA",
        title="PCA",
        citation="Pearson, Philosophical Magazine 1901",
        family="shallow",
        depends_on=frozenset({"seed"}),
        paper=True,
        note="not a relevance method: it ranks fields by how they vary together, not by what they tell about the label",
    ),
    "xgboost": MethodEntry(
        target="methods.xgboost:XGBoost",
        title="XGBoost",
        citation="Chen and Guestrin, KDD 2016",
        family="shallow",
        depends_on=frozenset({"seed"}),
        paper=True,
    ),
    "optfs": MethodEntry(
        target="methods.optfs:OptFS",
        title="OptFS",
        citation="Lyu et al., WWW 2023",
        granularity="value",
        uses_tau=False,
        paper=True,
    ),
    "optem": MethodEntry(
        target="methods.optem:OptEm",
        title="OptEm",
        citation="Lyu et al., CIKM 2022",
        granularity="dimension",
        uses_tau=False,
        paper=True,
    ),
    "autofield": MethodEntry(
        target="methods.autofield:AutoField",
        title="AutoField",
        citation="Wang et al., WWW 2022",
        free_count=True,
        depends_on=frozenset({"backbone", "seed"}),
        paper=True,
    ),
    "adafs": MethodEntry(
        target="methods.adafs:AdaFS",
        title="AdaFS",
        citation="Lin et al., KDD 2022",
        scores="train",
        per_sample=True,
        paper=True,
    ),
    "mvfs": MethodEntry(
        target="methods.mvfs:MvFS",
        title="MvFS",
        citation="Lee et al., CIKM 2023",
        scores="train",
        uses_tau=False,
        per_sample=True,
        paper=True,
    ),
    "light-fmp": MethodEntry(
        target="methods.light_fmp:LightFMP",
        title="Light-FMP",
        citation="Light-FMP: Lightweight Feature and Model Pruning for Enhanced Deep Recommender Systems",
        paper=True,
    ),
    "light-fmp-pooled": MethodEntry(
        target="methods.light_fmp_pooled:PooledLightFMP",
        title="Light-FMP, pooled",
        note="variant of this project: rare values share an embedding during pretraining, noise row by row",
    ),
    "random-k": MethodEntry(
        target="methods.random_k:RandomK",
        title="Random K",
        family="control",
        depends_on=frozenset({"seed"}),
    ),
    "cardinality": MethodEntry(
        target="methods.cardinality:Cardinality",
        title="Cardinality",
        family="control",
        depends_on=frozenset(),
    ),
}
