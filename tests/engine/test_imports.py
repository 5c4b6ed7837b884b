"""What makes training fast serves the model and the training, and knows neither."""

from __future__ import annotations

import ast
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]


def engine_imports() -> dict[str, set[str]]:
    """Module of the engine to those that it imports, for type checkers and inside functions included."""
    modules = {
        ".".join(file.relative_to(HOME).with_suffix("").parts): file for file in (HOME / "bench/engine").rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for name, file in modules.items():
        nodes = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        named = {str(node.module) for node in nodes}
        named |= {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        found[name] = named & modules.keys()
    return found


def test_what_makes_updates_fast_does_not_know_the_table_nor_a_training() -> None:
    found = engine_imports()
    assert found["bench.engine.fit"] >= {"bench.engine.update", "bench.engine.checkpoint"}
    for name in ("adam", "gradient", "lazy", "linear", "memory", "scatter", "windowed"):
        known = found[f"bench.engine.fast.{name}"]
        assert not known & {f"bench.engine.{one}" for one in ("table", "update", "fit")}, name
    assert found["bench.engine.table"] == {"bench.engine.fast.gradient", "bench.engine.weight_mask"}
    assert not found["bench.engine.weight_mask"] & {f"bench.engine.{one}" for one in ("table", "update", "fit")}
    assert not found["bench.engine.fast.graph"] & {"bench.engine.update", "bench.engine.fit"}
    assert not found["bench.engine.checkpoint"]
