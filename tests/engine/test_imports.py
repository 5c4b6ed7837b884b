"""Modules of the engine build on one another in one direction."""

from __future__ import annotations

import ast
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]


def engine_imports() -> dict[str, set[str]]:
    """Module of the engine to those that it imports, for type checkers and inside functions included."""
    files = {f"bench.engine.{file.stem}": file for file in sorted((HOME / "bench/engine").glob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, file in files.items():
        nodes = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        named = {str(node.module) for node in nodes}
        named |= {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        found[name] = named & files.keys()
    return found


def test_no_module_of_the_engine_imports_itself_by_way_of_others() -> None:
    left = engine_imports()
    assert left["bench.engine.fit"] >= {"bench.engine.update", "bench.engine.checkpoint"}
    while ready := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in ready}
    assert not left, "these wait for one another"


def test_what_makes_updates_fast_does_not_know_the_table_nor_a_training() -> None:
    found = engine_imports()
    for name in ("adam", "gradient", "lazy", "linear", "memory", "scatter", "windowed"):
        assert not found[f"bench.engine.{name}"] & {f"bench.engine.{one}" for one in ("table", "update", "fit")}, name
    assert found["bench.engine.table"] == {"bench.engine.fast.gradient"}
    assert not found["bench.engine.fast.graph"] & {"bench.engine.update", "bench.engine.fit"}
    assert not found["bench.engine.checkpoint"]
