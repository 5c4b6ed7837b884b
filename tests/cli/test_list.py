from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import plugins
from bench.datasets import datasets
from bench.run.config import experiment_names

Bench = Callable[..., Any]


def keys(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " "]


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("methods", lambda: plugins.methods().names()),
        ("backbones", lambda: plugins.backbones().names()),
        ("datasets", lambda: datasets().names()),
        ("experiments", experiment_names),
    ],
)
def test_a_section_lists_every_name_in_order(bench: Bench, section: str, names: Callable[[], list[str]]) -> None:
    found = bench("list", section)
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[0] == section
    assert keys(found.out) == names()


def test_without_a_section_all_are_shown(bench: Bench) -> None:
    found = bench("list")
    heads = [line for line in found.out.splitlines() if line and not line.startswith(" ")]
    assert heads == ["methods", "backbones", "datasets", "experiments", "runs"]
    assert found.code == 0


def test_methods_show_title_family_and_origin(bench: Bench) -> None:
    line = next(line for line in bench("list", "methods").out.splitlines() if line.startswith("  light-fmp "))
    for part in ("Light-FMP", "gate", "field", "in the paper", "[methods.light_fmp:LightFMP]"):
        assert part in line


def test_data_sets_show_whether_they_are_prepared(bench: Bench, tmp_path: Path) -> None:
    store = tmp_path / "stores" / "avazu"
    store.mkdir(parents=True)
    (store / "manifest.json").write_text("{}")
    found = bench("list", "datasets", "--data-dir", str(tmp_path / "stores"))
    lines = {line.split()[0]: line for line in found.out.splitlines()[1:] if line}
    assert ": prepared" in lines["avazu"]
    assert ": not prepared" in lines["criteo"]
    assert "terms" in lines["criteo"]
    assert "terms" not in lines["planted"]


def test_runs_are_counted_and_other_folders_left_out(bench: Bench, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "first" / "cells").mkdir(parents=True)
    for number in range(3):
        (runs / "first" / "cells" / f"{number}.json").touch()
    (runs / "first" / "cells" / "3.lease").touch()  # a cell under way is none yet
    (runs / "begun").mkdir()
    (runs / "begun" / "run.toml").touch()
    (runs / "photographs").mkdir()
    assert bench("list", "runs", "--runs", str(tmp_path / "nowhere")).out == "runs\n  none yet\n\n"
    lines = bench("list", "runs", "--runs", str(runs)).out.split("\n")[1:]
    assert [line.split() for line in lines if line] == [
        [str(runs / "begun"), "0", "cells"],
        [str(runs / "first"), "3", "cells"],
    ]


def test_plug_ins_are_listed_and_broken_ones_with_their_traceback(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: Callable[[], None]
) -> None:
    info = tmp_path / "site" / "plug-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[bench.methods]\nant = listed_plug:good\nbee = listed_broken:x\nlight-fmp = listed_plug:good\n"
        "[bench.backbones]\nnet = listed_plug:net\n[bench.datasets]\nmine = listed_plug:mine\n"
    )
    site = info.parent
    (site / "listed_plug.py").write_text(
        "from bench.api import BackboneEntry, MethodEntry\nfrom bench.datasets import DatasetEntry\n"
        "good = MethodEntry('nowhere:X', 'An ant')\nnet = BackboneEntry('nowhere:Y', 'A net')\n"
        "mine = DatasetEntry('nowhere:card', 'My data')\n"
    )
    (site / "listed_broken.py").write_text("raise RuntimeError('licence expired')\n")
    monkeypatch.syspath_prepend(site)
    fresh_registries()
    methods = bench("list", "methods")
    assert methods.code == 0
    assert keys(methods.out) == [*plugins.methods().names(), "bee", "light-fmp"]
    assert plugins.methods().names()[-1] == "ant"
    assert "An ant" in methods.out
    assert "BROKEN (entry point listed_broken:x): RuntimeError: licence expired" in methods.out
    assert "Traceback" in methods.out
    assert "line 1, in <module>" in methods.out
    assert "the name is taken by methods.light_fmp:LightFMP" in methods.out
    assert "A net" in bench("list", "backbones").out
    assert "My data: not prepared" in bench("list", "datasets").out
