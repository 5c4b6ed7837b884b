"""The method that the guide shows whole runs, keeps the contract and computes what its docstring says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from bench.api import ConfigError, Field, MethodEntry, Rows, Schema
from bench.checks import check_method
from bench.checks.example import DECISIVE, example_data
from bench.params import fill

GUIDE = Path(__file__).resolve().parents[2] / "methods" / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MethodEntry]:
    """The guide's entry, pointing at the guide's module in a folder of its own."""
    _, module, line, *_, package, _ = blocks()
    (tmp_path / "guide_example.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    ((name, entry),) = eval(f"{{{line}}}", {"MethodEntry": MethodEntry}).items()
    assert entry.target == f"methods.{name}:Cramer"
    outside: dict[str, Any] = {}
    exec(package, outside)
    assert outside["CRAMER"] == replace(entry, target=f"my_package.{name}:Cramer")
    assert f'{name} = "my_package:CRAMER"' in GUIDE.read_text(encoding="utf-8")
    yield replace(entry, target="guide_example:Cramer")
    sys.modules.pop("guide_example", None)


def test_it_keeps_the_contract(shown: MethodEntry) -> None:
    check_method(shown, "dnn")
    check_method(shown, "dnn", params="min_count=5")
    with pytest.raises(ConfigError, match="min_count=0 is out of range"):
        check_method(shown, "dnn", params="min_count=0")


def test_it_scores_by_the_corrected_statistic(
    shown: MethodEntry, rows_of: Callable[..., Rows], context: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(0)
    n, sizes = 3000, np.array([6, 4, 9])
    codes = np.stack([rng.integers(0, size - 1, n) for size in sizes], axis=1)  # the last value never occurs
    labels = rng.random(n) < 0.2 + 0.1 * codes[:, 0] / 5
    cls = shown.load()
    method = cls(fill(cls.Params, {"min_count": "1"}, "cramer"), shown)
    rows = rows_of(codes, sizes, labels)
    scores = method.select(context(rows.schema, 1, method.params), rows, rows).scores
    for f, size in enumerate(sizes):
        table = [np.bincount(codes[labels == y, f], minlength=size - 1) for y in (False, True)]
        chi2 = chi2_contingency(table, correction=False).statistic
        assert scores[f] == pytest.approx(max(0.0, chi2 / n - (size - 2) / (n - 1)), abs=1e-6)


def test_it_reads_numbers(shown: MethodEntry, context: Callable[..., Any]) -> None:
    """The decisive number comes first; a missing, a constant and a twin field are no trouble."""
    data, cls = example_data(), shown.load()
    method = cls(fill(cls.Params, {}, "cramer"), shown)
    scores = method.select(context(data.schema, 4, method.params), data.train, data.valid).scores
    assert int(np.argmax(scores)) == DECISIVE
    names = data.schema.names
    assert scores[names.index("country")] == 0
    assert scores[names.index("city")] == pytest.approx(scores[names.index("twin")])


@pytest.mark.parametrize("numbers", [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [1.0] * 8, [0.0] * 6 + [5.0, 9.0]])
def test_ranges_are_equally_full_where_numbers_allow(numbers: list[float]) -> None:
    schema = Schema((Field("a", "categorical", 4), Field("n", "numeric", 3)))
    ids = torch.tensor([[2, 6]] * 7 + [[3, 5]], dtype=torch.int32)  # the last number is missing
    rows = Rows(schema, ids, torch.tensor(numbers)[:, None], torch.zeros(8), torch.arange(8)).bucketed(2)
    assert rows.numeric is None and rows.schema.cardinalities.tolist() == [4, 2 + 2]
    local = (rows.ids - torch.tensor(rows.schema.offsets[:-1])).tolist()
    assert [row[0] for row in local] == [2] * 7 + [3]
    middle = float(np.median(numbers[:7]))
    assert [row[1] for row in local] == [2 + int(x >= middle) for x in numbers[:7]] + [1]


def test_the_contract_test_shown_names_what_exists(shown: MethodEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import plugins

    *_, test = blocks()
    names: dict[str, Any] = {}
    exec(test, names)
    marks = {mark.args[0]: mark.args[1] for mark in names["test_keeps_the_contract"].pytestmark}
    assert set(marks["backbone"]) <= set(plugins.backbones().names())
    assert {text.partition("[")[0] for text in marks["method"]} == {"cramer"}
    monkeypatch.setitem(plugins.methods()._entries, "cramer", shown)
    monkeypatch.setitem(plugins.methods()._origins, "cramer", shown.target)
    names["test_keeps_the_contract"](marks["method"][1], marks["backbone"][0])
