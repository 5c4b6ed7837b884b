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
    "light-fmp": MethodEntry(
        target="methods.light_fmp:LightFMP",
        title="Light-FMP",
        citation="Light-FMP: Lightweight Feature and Model Pruning for Enhanced Deep Recommender Systems",
        paper=True,
    ),
    "random-k": MethodEntry(
        target="methods.random_k:RandomK",
        title="Random K",
        family="control",
        depends_on=frozenset({"seed"}),
    ),
}
