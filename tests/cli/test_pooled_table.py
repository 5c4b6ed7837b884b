"""A list column whose values carry the signal, through the whole command line."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

CARD = """
name = "{name}"
min_count = 2
[raw]
[raw.columns]
y = "label"
tags = {{ kind = "categorical", separator = "|", {multi} }}
a = "categorical"
b = "categorical"
"""
RUN = (
    *("--methods", "no-selection", "lasso", "optfs", "lasso[variant=group]", "--backbones", "fm", "--seeds", "1"),
    *("--prune-ratio", "0.67", "--set", "l2=1e-4", "lr=0.02", "--out", "r"),
)


def write_table(path: Path, n: int = 4000) -> None:
    """Up to five of 30 tags a row, each worth ±3; their mean decides, and two columns say nothing."""
    draw = random.Random(0)
    worth = {f"t{i}": draw.choice((-3.0, 3.0)) for i in range(30)}
    lines = ["y,tags,a,b"]
    for _ in range(n):
        tags = draw.sample(sorted(worth), draw.randrange(6))
        logit = 1.5 * sum(worth[tag] for tag in tags) / max(1, len(tags))
        y = int(draw.random() < 1 / (1 + math.exp(-logit)))
        lines.append(f"{y},{'|'.join(tags)},{draw.randrange(10)},{draw.randrange(20)}")
    path.write_text("\n".join(lines) + "\n")


def test_pooled_values_tell_what_the_first_one_does_not(bench):
    write_table(Path("t.csv"))
    for name, multi in (("pooled", 'multi = "mean"'), ("first", 'multi = "first"')):
        Path(f"{name}.toml").write_text(CARD.format(name=name, multi=multi))
        assert bench("prepare", f"{name}.toml", "--raw", "t.csv").code == 0
    done = bench("run", "--datasets", "pooled.toml", "first.toml", *RUN)
    assert done.code == 0, done.err
    cells = [json.loads(path.read_text()) for path in Path("r/cells").iterdir()]
    of = {(one["dataset"].removesuffix(".toml"), one["label"]): one for one in cells}
    first = of["first", "no-selection"]["auc"]
    assert of["pooled", "no-selection"]["auc"] > first + 0.1
    assert of["pooled", "optfs"]["auc"] > first + 0.1
    assert of["pooled", "lasso"]["kept_fields"] == [0]
    assert of["pooled", "lasso"]["auc"] > first + 0.1
    skipped = of["pooled", "lasso[variant=group]"]
    assert skipped["status"] == "skipped"
    assert "variant=group reads one value a row, and tags may have several" in skipped["reason"]
    assert of["first", "lasso[variant=group]"]["status"] == "ok"
    exported = bench("export", "r", "pooled", "lasso", "--to", "model")
    assert exported.code == 2
    assert "keeps 'tags', which pools several values a row" in exported.err
    assert not Path("model").exists()
