"""The estimate before a run: its numbers are those of the data, the model and the grid."""

from bench import plan as planning
from bench.config import RunConfig
from bench.data.ready import make_ready
from bench.sweep import Session, resolve


def test_estimates_say_what_the_grid_holds(tmp_path):
    spec = "planted[rows=2000,fields=12]"
    config = RunConfig(
        datasets=(spec,),
        methods=("no-selection", "random-k"),
        backbones=("dnn", "xdeepfm"),
        seeds=3,
        prune_ratio=(0.25, 0.5),
        data_dir=tmp_path / "data",
        out=tmp_path / "run",
        threads=1,
    )
    plan = resolve(config)
    make_ready(plan.cards.values(), config.data_dir)
    session = Session(plan)
    estimates = planning.estimate(session)
    label = next(iter(plan.cards))
    data = session.data(label)
    assert [one.backbone for one in estimates] == ["dnn", "xdeepfm"]
    for one in estimates:
        assert one.cells == 3 * (1 + 2)  # no-selection once a seed, random-k at two prune ratios
        assert sum(one.rows.values()) == 2000
        # 12 int32 ids, a float32 label and an int64 row number a row
        assert one.data_bytes == 2000 * (12 * 4 + 4 + 8)
        assert one.vocabulary == data.schema.vocabulary_rows
        assert one.epoch_s > 0
        assert one.longest_s == one.cells * one.max_epochs * one.epoch_s
    dnn = estimates[0]
    dim, (h1, h2, h3) = 8, (400, 400, 200)
    network = (12 * dim + 1) * h1 + (h1 + 1) * h2 + (h2 + 1) * h3 + h3 + 1
    assert dnn.model_bytes == 5 * 4 * (network + dim * data.schema.vocabulary_rows)
    text = planning.table(estimates)
    assert "1,600 / 200 / 200" in text
    assert not config.out.exists()
