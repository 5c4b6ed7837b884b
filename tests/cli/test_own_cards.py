"""Cards of one's own through the whole command line: names, titles, folders."""

from __future__ import annotations

from pathlib import Path

CARD = """
name = "{name}"
[raw.columns]
y = "label"
c = "categorical"
d = "categorical"
"""
RUN = ("--methods", "no-selection", "cardinality", "--backbones", "dnn[mlp=4]", "--seeds", "1", "--epochs", "1")


def make_card(folder: str, name: str = "clicks", head: str = "") -> str:
    """A card in ``folder``, and 200 rows beside it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "clicks.toml").write_text(head + CARD.format(name=name))
    rows = "".join(f"{i % 2},{i % 3},{i % 7}\n" for i in range(200))
    Path(folder, "clicks.csv").write_text(f"y,c,d\n{rows}")
    return f"{folder}/clicks.toml"


def test_two_cards_of_one_name_are_refused_and_one_typed_twice_counts_once(bench):
    first, second = make_card("a"), make_card("b")
    assert bench("prepare", first, "--raw", "a/clicks.csv").code == 0
    for other in (second, f"{second}[min_count=2]"):
        refused = bench("run", "--datasets", first, other, *RUN, "--out", "r")
        assert refused.code == 2
        assert "the cards a/clicks.toml and b/clicks.toml both have name = 'clicks'" in refused.err
        assert "give one of them another name" in refused.err
        assert not Path("r").exists()
    Path("link.toml").symlink_to(first)
    assert bench("run", "--datasets", first, "./a/clicks.toml", "link.toml", *RUN, "--out", "r").code == 0
    assert len(list(Path("r/cells").iterdir())) == 2
