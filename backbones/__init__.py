"""CTR backbones: one file each, one line here. The order is the row order of every table."""

from __future__ import annotations

from bench.api import BackboneEntry

TABLE: dict[str, BackboneEntry] = {
    "xdeepfm": BackboneEntry(
        target="backbones.xdeepfm:XDeepFM",
        title="xDeepFM",
        citation="Lian et al., KDD 2018",
        paper=True,
    ),
    "dnn": BackboneEntry(
        target="backbones.dnn:DNN",
        title="DNN",
        citation="LeCun, Bengio and Hinton, Nature 2015",
        paper=True,
    ),
}
