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
    "deepfm": BackboneEntry(
        target="backbones.deepfm:DeepFM",
        title="DeepFM",
        citation="Guo et al., IJCAI 2017",
        paper=True,
    ),
    "wide-deep": BackboneEntry(
        target="backbones.wide_deep:WideDeep",
        title="Wide&Deep",
        citation="Cheng et al., DLRS 2016",
        paper=True,
    ),
    "pnn": BackboneEntry(
        target="backbones.pnn:PNN",
        title="PNN",
        citation="Qu et al., ICDM 2016",
        paper=True,
    ),
    "dnn": BackboneEntry(
        target="backbones.dnn:DNN",
        title="DNN",
        citation="LeCun, Bengio and Hinton, Nature 2015",
        paper=True,
    ),
    "logistic": BackboneEntry(
        target="backbones.logistic:Logistic",
        title="LR",
        citation="McMahan et al., KDD 2013",
    ),
    "fm": BackboneEntry(
        target="backbones.fm:FM",
        title="FM",
        citation="Rendle, ICDM 2010",
    ),
    "dcnv2": BackboneEntry(
        target="backbones.dcnv2:DCNv2",
        title="DCNv2",
        citation="Wang et al., WWW 2021",
    ),
}
