"""The shape of the code: who imports whom, who knows which name, and how long a file may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bench import plugins
from bench.datasets import datasets

HOME = Path(__file__).resolve().parent.parent
OURS = ("bench", "methods", "backbones", "plots")
MAX_LINES = 400
MAX_FUNCTION = 60
DEFINITIONS = (HOME / "bench" / "datasets", HOME / "bench" / "experiments")


def sources(package: str) -> list[Path]:
    files = sorted((HOME / package).rglob("*.py"))
    assert files
    return files


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """String constants other than docstrings, f-string parts included."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Full names of all imported modules, those inside functions and for type checkers included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.lineno, str(node.module)
            if node.module in OURS:  # `from bench import plugins` imports a module too
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def ours(file: Path) -> list[tuple[int, str]]:
    return [(line, name) for line, name in imported(parsed(file)) if name.partition(".")[0] in OURS]


def registered_names() -> set[str]:
    return {name for known in (plugins.methods(), plugins.backbones(), datasets()) for name in known.names()}


def mentions(text: str, names: set[str]) -> set[str]:
    return names & set(re.findall(r"[a-z0-9_]+(?:-[a-z0-9_]+)*", text))  # a key like score_of_x is one word


def test_the_search_for_names_finds_them() -> None:
    tree = ast.parse('"""criteo"""\nx = "planted"\ny = f"run {x} on light-fmp[a=1]"\nz = "planted-x replanted"')
    found = [mentions(text, {"criteo", "planted", "light-fmp"}) for _, text in texts(tree)]
    assert [names for names in found if names] == [{"planted"}, {"light-fmp"}]


def test_the_harness_names_no_method_backbone_or_data_set() -> None:
    names = registered_names()
    assert {"light-fmp", "dnn", "criteo", "no-selection"} <= names
    words: dict[str, set[str]] = {  # that mean something else there
        "environment.py": {"xgboost"},  # the package, whose version every record carries
        "manifest.py": {"cardinality"},  # the manifest's key for the size of a field
        "prepare.py": {"cardinality"},
        "making.py": {"cardinality"},
        **{name: {"consensus"} for name in ("advise.py", "advice.py", "consensus.py", "api.py")},  # of rankers
        **{name: {"stability"} for name in ("stability.py", "build.py", "figures.py", "explain.py")},  # the table
    }
    for file in sources("bench"):
        if not any(folder in file.parents for folder in DEFINITIONS):
            allowed = words.get(file.name, set())
            for line, text in texts(parsed(file)):
                assert mentions(text, names) <= allowed, f"{file.relative_to(HOME)}:{line}"


def called(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    """Calls of an attribute, such as ``ctx.fit(...)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            yield node


def phases_of(tree: ast.Module) -> set[str]:
    """Names that a method gives its trainings and stages, as far as they stand where they are given."""
    given = [word.value for call in called(tree, "fit") for word in call.keywords if word.arg == "name"]
    given += [call.args[0] for call in called(tree, "stage")]
    return {str(node.value) for node in given if isinstance(node, ast.Constant)}


def notes_of(tree: ast.Module) -> set[str]:
    """Names of diagnostics: keywords of ``ctx.log``, and the keys of what is assigned to ``notes``."""
    names = {str(word.arg) for call in called(tree, "log") for word in call.keywords if word.arg}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and "notes" in ast.unparse(node).partition("=")[0]:
            names |= {str(key.value) for key in ast.walk(node) if isinstance(key, ast.Constant)}
    return {name for name in names if re.fullmatch(r"[a-z]+(_[a-z]+)+", name)}  # single words mean other things too


def test_the_harness_reads_no_phase_and_no_note_of_a_method() -> None:
    trees = [parsed(file) for file in sources("methods")]
    phases = set().union(*map(phases_of, trees))
    assert {"warmup", "search", "pretrain", "supernet", "evolution"} <= phases
    notes = set().union(*map(notes_of, trees))
    assert {"pretrain_steps", "gate_moved", "fields_at_the_end", "gated_best_epoch"} <= notes
    own = {"train"}  # the split, and the harness's phase
    for file in sources("bench"):
        stage_of_speed = {"search"} if file.parent.name == "speed" else set()
        for line, text in texts(parsed(file)):
            known = mentions(text, (phases | notes) - own - stage_of_speed)
            assert not known, f"{file.relative_to(HOME)}:{line} knows {known}: make it a field of Selection or FitLog"


@pytest.mark.parametrize("package", ["methods", "backbones"])
def test_plug_ins_import_the_api_and_their_siblings_only(package: str) -> None:
    for file in sources(package):
        for line, name in ours(file):
            allowed = name == "bench.api" or name.partition(".")[0] == package
            assert allowed, f"{file.relative_to(HOME)}:{line} imports {name}"


def test_plots_import_records_numbers_metrics_statistics_and_their_siblings_only() -> None:
    known = {"bench", "bench.records", *(f"bench.tables.{name}" for name in ("metrics", "cells", "model", "places"))}
    for file in sources("plots"):
        for line, name in ours(file):
            allowed = name in known or name.startswith(("plots", "bench.stats"))
            assert allowed, f"{file.relative_to(HOME)}:{line} imports {name}"


def test_the_harness_imports_no_plug_in_but_the_tables_of_their_packages() -> None:
    for file in sources("bench"):
        tables = file == HOME / "bench" / "plugins.py"
        for line, name in ours(file):
            root, dot, _ = name.partition(".")
            allowed = root not in ("methods", "backbones") or (tables and not dot)
            assert allowed, f"{file.relative_to(HOME)}:{line} imports {name}"


LAYERS = (  # a room imports itself and the rooms of the lines above it, but none beside or below it
    ("addresses", "errors", "plain"),
    ("files", "identity", "lease", "processes", "cluster", "seeds", "budget", "environment", "flags"),
    ("params",),
    ("predictions", "profiles", "records", "registry", "stats"),
    ("data.schema",),
    ("data.card",),
    ("data.raw", "data.store"),
    ("data.prepare", "rows"),
    ("data.look",),
    ("engine",),
    ("method",),
    ("api", "datasets", "plugin_files"),
    ("methods", "backbones"),
    ("plugins",),
    ("run",),
    ("advising", "folders"),
    ("tables",),
    ("plots",),
    ("report",),
    ("catalogue", "checks", "evidence", "speed", "export", "python"),
    ("site", "sklearn"),
    ("cli",),
)


def layer(module: str) -> tuple[int, str] | None:
    """Line and room of a module; None of the packages that hold nothing themselves."""
    for place, rooms in enumerate(LAYERS):
        for room in rooms:
            full = room if room in OURS else f"bench.{room}"
            if module == full or module.startswith(f"{full}."):
                return place, room
    assert module in ("bench", "bench.data", "bench.__main__"), f"{module} is in no room: give it a place in LAYERS"
    return None


def test_no_room_imports_from_one_beside_or_above_it() -> None:
    files = {module_name(file): file for package in OURS for file in sources(package)}
    for name, file in files.items():
        here = layer(name)
        for line, other in ours(file):
            there = layer(other) if other in files else None
            if here is None or there is None:
                continue
            allowed = there[0] < here[0] or there[1] == here[1]
            assert allowed, f"{file.relative_to(HOME)}:{line} imports {other}, which is not below {here[1]}"


def test_modules_import_each_other_in_no_circle() -> None:
    files = {module_name(file): file for package in OURS for file in sources(package)}
    files.pop("bench")  # it names what rooms hold, for type checkers, and loads none of them
    imports = {name: {other for _, other in ours(file)} & set(files) - {name} for name, file in files.items()}
    reached = {name: reachable(name, imports) for name in files}
    for name in files:
        circle = {other for other in reached[name] if name in reached[other]}
        assert not circle, sorted(circle)


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")


def reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    """What ``start`` imports, and what that imports, and so on."""
    found: set[str] = set()
    left = [start]
    while left:
        new = imports[left.pop()] - found
        found |= new
        left += new
    return found


def test_only_the_command_line_prints() -> None:
    for package in OURS:
        for file in sources(package):
            for node in ast.walk(parsed(file)):
                prints = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
                assert not prints, f"{file.relative_to(HOME)}:{getattr(node, 'lineno', 0)}"


def test_files_stay_readable() -> None:
    for package in (*OURS, "tests"):
        for file in sources(package):
            lines = file.read_text(encoding="utf-8").count("\n")
            longest = MAX_LINES + 200 if package == "tests" else MAX_LINES
            assert lines <= longest, f"{file.relative_to(HOME)} has {lines} lines"


def test_functions_stay_readable() -> None:
    for package in (*OURS, "tests"):
        for file in sources(package):
            for node in ast.walk(parsed(file)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    assert lines <= MAX_FUNCTION, f"{file.relative_to(HOME)}:{node.lineno} {node.name}: {lines} lines"


def test_every_name_of_the_api_resolves_and_none_is_missing_from_it() -> None:
    from bench import api

    for name in api.__all__:
        assert getattr(api, name) is not None
    assert api.__all__ == sorted(api.__all__)
    assert set(api._LAZY) <= set(api.__all__)
    used = {
        alias.name
        for package in ("methods", "backbones")
        for file in sources(package)
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ImportFrom) and node.module == "bench.api"
        for alias in node.names
    }
    assert used <= set(api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        api.__getattr__("nothing")
