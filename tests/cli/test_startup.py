from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent.parent
HEAVY = ("torch", "pandas", "sklearn", "scipy", "matplotlib", "seaborn", "xgboost", "pyarrow", "pooch")

SCRIPT = """
import json, sys
from bench.cli import main
try:
    code = main(json.loads(sys.argv[1]))
except SystemExit as end:
    code = end.code or 0
print("LOADED", json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["list"], ["run", "--help"], ["report", "--help"], ["prepare", "--help"], ["list", "--help"]],
    ids=" ".join,
)
def test_help_and_list_load_nothing_heavy(argv: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(argv)],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    )
    shown, _, loaded = done.stdout.rpartition("LOADED ")
    code, modules = json.loads(loaded)
    assert code == 0
    assert len(shown) > 200
    assert [name for name in HEAVY if name in modules] == []
    assert "bench.cli" in modules


def test_the_package_itself_loads_nothing() -> None:
    """What a notebook that only imports it pays: no module but those of Python that every start loads or nearly so."""
    code = "import sys; before = set(sys.modules); import bench; print(sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    )
    loaded = eval(done.stdout)
    assert "bench" in loaded
    assert [name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names] == ["bench"]
