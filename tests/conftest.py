"""A tiny generated data set, jobs on it, the command line in this process or another, and a plug-in package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import TINY

from bench import plugins
from bench.cli import main
from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import datasets, resolve_dataset
from bench.engine import disturbance
from bench.engine.evaluate import inference_time
from bench.profiles import resolve_profile
from bench.report.drawing import Drawing
from bench.rows.load import LoadedData, load
from bench.run import columns
from bench.run.grid import Cell, choose_method
from bench.run.job import Job, resolve_backbone

HOME = Path(__file__).resolve().parent.parent
NET = "dnn[mlp=8]"
HEEDED: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""What Python does of its own with the signals that end a command."""

ZOO_ENTRIES = """
from bench.api import BackboneEntry, MethodEntry

def entry(name, **declared):
    return MethodEntry(target=f"zoo.{name}", title=name.rpartition(":")[2], family="shallow", **declared)

plain = entry("animals:Plain")
broken = entry("broken:Nothing")
absent = entry("animals:Absent")
nan = entry("animals:NotANumber")
short = entry("animals:Short")
raises = entry("animals:Raises")
hungry = entry("animals:Hungry")
killed = entry("animals:Killed")
sleeps = entry("animals:Sleeps")
skips = entry("animals:Skips")
leaks = entry("animals:LogsTensor")
exploding = entry("animals:Exploding")
counted = entry("animals:Counted", depends_on=frozenset({"seed"}))
stumbles = entry("animals:Raises", depends_on=frozenset({"seed"}))
dies = entry("animals:Killed", depends_on=frozenset({"seed"}))
fragile = entry("animals:Fragile")
witnessed = entry("animals:Witnessed")
linear = BackboneEntry(target="zoo.linear:Linear", title="Linear")
"""

ZOO_METHODS = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from bench.api import Method, Range, Selection, Step


@dataclass(frozen=True)
class PlainParams:
    shift: Annotated[int, Range(0, 7)] = 0


class Plain(Method[PlainParams]):
    """Keeps the first fields, counted from ``shift``."""

    Params = PlainParams

    def select(self, ctx, train, selection_rows):
        order = np.roll(np.arange(ctx.schema.n_fields), self.params.shift)
        return Selection(scores=-order.astype(float))


class NotANumber(Method):
    def select(self, ctx, train, selection_rows):
        scores = np.ones(ctx.schema.n_fields)
        scores[[2, 5]] = np.nan
        return Selection(scores=scores)


class Short(Method):
    def select(self, ctx, train, selection_rows):
        return Selection(scores=np.ones(ctx.schema.n_fields - 1))


class Raises(Method):
    def select(self, ctx, train, selection_rows):
        raise KeyError("no such thing")


class Hungry(Method):
    def select(self, ctx, train, selection_rows):
        torch.empty(2**60, dtype=torch.uint8)


class Killed(Method):
    def select(self, ctx, train, selection_rows):
        os.kill(os.getpid(), signal.SIGKILL)


class Sleeps(Method):
    def select(self, ctx, train, selection_rows):
        time.sleep(60)


class Skips(Method):
    def skip(self, ctx):
        return "not on Sundays"


class LogsTensor(Method):
    def select(self, ctx, train, selection_rows):
        ctx.log(weights=torch.ones(3))
        return Selection(scores=-np.arange(ctx.schema.n_fields, dtype=float))


class Exploding(Method):
    """Leaves a model whose scores are not finite."""

    def select(self, ctx, train, selection_rows):
        return Selection(scores=-np.arange(ctx.schema.n_fields, dtype=float))

    def train(self, ctx, train, valid, selection):
        trained = super().train(ctx, train, valid, selection)
        with torch.no_grad():
            trained.model.table.weight.fill_(torch.nan)
        return trained


class Counted(Method):
    """Writes down every selection."""

    def select(self, ctx, train, selection_rows):
        with Path(os.environ["ZOO_LOG"]).open("a") as log:
            log.write("select\\n")
        ctx.log(logged=np.float32(1.5), both=1)
        scores = torch.rand(ctx.schema.n_fields, generator=ctx.rng("counted")).double().numpy()
        return Selection(scores=scores, notes={"noted": np.int64(7), "ratio": float("nan"), "both": 2})


class Witnessed(Method):
    """Writes down every cell, and goes on once ``ZOO_CROWD`` processes have begun one."""

    def select(self, ctx, train, selection_rows):
        log = Path(os.environ["ZOO_LOG"])
        with log.open("a") as file:
            file.write(f"{os.getpid()} lr={ctx.profile.lr},tau={ctx.tau},seed={ctx.seed}\\n")
        deadline = time.monotonic() + 60
        while len({line.split()[0] for line in log.read_text().splitlines()}) < int(os.environ.get("ZOO_CROWD", "1")):
            if time.monotonic() > deadline:
                raise TimeoutError("the others did not come")
            time.sleep(0.02)
        return Selection(scores=-np.arange(ctx.schema.n_fields, dtype=float))


class Fragile(Method):
    """Has its process killed in the middle of training, once."""

    def select(self, ctx, train, selection_rows):
        return Selection(scores=-np.arange(ctx.schema.n_fields, dtype=float))

    def train(self, ctx, train, valid, selection):
        marker = Path(os.environ["ZOO_MARKER"])
        model = ctx.surgery(lambda: ctx.model(selection.kept))

        def schedule(iteration, planned):
            if iteration >= planned // 2 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        from bench.api import Trained
        return Trained(model, ctx.fit(model, train, valid, schedule=schedule, name="train"))
'''

ZOO_BACKBONE = """
from dataclasses import dataclass

from torch import nn

from bench.api import Backbone, slice_columns, field_columns


@dataclass(frozen=True)
class LinearParams:
    pass


class Linear(Backbone[LinearParams]):
    Params = LinearParams
    uses_linear = True

    def __init__(self, n_fields, dim, params):
        super().__init__(n_fields, dim, params)
        self.layer = nn.Linear(n_fields * dim, 1)

    @classmethod
    def defaults(cls, profile):
        return LinearParams()

    def forward(self, e, linear):
        return self.layer(e.flatten(1)).squeeze(1) + linear.sum(1)

    def slice_fields(self, kept):
        small = type(self)(len(kept), self.dim, self.params)
        small.layer = slice_columns(self.layer, field_columns(kept, self.dim))
        return small
"""


DRAW = Drawing.files


@dataclass(frozen=True)
class Outcome:
    """What a command line left behind."""

    code: int
    out: str
    err: str


MOST_WORKERS = 4
"""Of more, each would spend its time on importing the libraries."""


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Several processes for the whole suite; one, which begins at once, for single files, ``-k`` and ``-m``.

    Slow tests fill the machine themselves, and those of a GPU share it. ``-n`` and pytest-xdist's variable decide where
    they are given.
    """
    cores = yield
    given = {Path(config.invocation_params.dir, name).resolve() for name in config.args}
    chosen = config.option.keyword or config.option.markexpr != "not slow and not gpu"
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return cores
    return 0 if chosen or not given <= {HOME, HOME / "tests"} else min(MOST_WORKERS, cores)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Reports of this process have figures where the test asks for them; before fixtures of modules make their runs."""
    Drawing.files = DRAW if item.get_closest_marker("figures") else lambda drawing: iter(())  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread here and in processes started from here: the data are too small for more."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_terminal() -> None:
    """Texts are as wide as in a pipe; a controller of several test processes tells them its terminal's width."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """Under ``nohup``, and in the background of a script, some signals are ignored from the start, in children too."""
    ignored = {number: handler for number, handler in HEEDED.items() if signal.getsignal(number) is signal.SIG_IGN}
    for number, handler in ignored.items():
        signal.signal(number, handler)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def short_waits() -> Iterator[None]:
    """In this process inference is timed once a cell instead of for half a second, and no file waits for the disk.

    The tests of ``inference_time`` call it itself; what ``fsync`` is for is a power cut, which no test has.
    """
    quick = {"repeats": 1, "at_least_s": 0.0, "calls": 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "inference_time", lambda model, rows, **own: inference_time(model, rows, **quick | own))
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of ``TINY``."""
    folder = tmp_path_factory.mktemp("data")
    card = resolve_dataset(TINY)
    prepare(card, None, store_folder(folder, card))
    return folder


@pytest.fixture(scope="session")
def tiny(data_dir: Path) -> LoadedData:
    """The tiny data set; tests must not write into it."""
    card = resolve_dataset(TINY)
    return load(store_folder(data_dir, card), card)


@pytest.fixture
def make_job(tiny: LoadedData) -> Callable[..., Job]:
    """Make a cell of ``tiny``: ``make_job(method, tau=0.5, seed=0, backbone=..., epochs=2, **fields of Job)``."""

    def make(
        method: str, tau: float | None = 0.5, seed: int = 0, backbone: str = NET, epochs: int = 2, **fields: Any
    ) -> Job:
        choice = choose_method(method)
        profile = resolve_profile("small", len(tiny.train), {}, {"max_epochs": epochs})
        net = resolve_backbone(backbone, profile)
        cell = Cell(tiny.label, net.label, choice.label, tau if choice.uses_tau else None, seed)
        fields = {"warmed": {net.label}} | fields
        return Job(cell, tiny, choice, net, profile, torch.device("cpu"), **fields)

    return make


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What else runs on the machine of the tests decides nothing, but in the tests of that."""
    if request.path.name != "test_disturbance.py":
        monkeypatch.setattr(disturbance, "reading", lambda: None)


@pytest.fixture
def bench(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Run the command line in this process, in an empty folder: ``bench("run", "--seeds", "0")``."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*argv: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["bench", *argv])
        capsys.readouterr()
        try:
            code = main(argv)
        except SystemExit as end:  # the flag parser's own way out
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def bench_process(tmp_path: Path) -> Callable[..., Outcome]:
    """Run the command line in a process of its own; ``path`` comes first on its import path."""

    def run(*argv: str, path: Path | None = None, timeout: float = 120, **environment: str) -> Outcome:
        roots = [str(folder) for folder in (path, HOME) if folder is not None]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "OMP_NUM_THREADS": "1", **environment}
        done = subprocess.run(
            [sys.executable, "-m", "bench", *argv],
            check=False,
            capture_output=True,
            text=True,
            env=env,
            cwd=tmp_path,
            timeout=timeout,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def zoo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds an installed plug-in package, ``zoo``, written with nothing but ``bench.api``."""
    folder = tmp_path_factory.mktemp("site")
    package = folder / "zoo"
    package.mkdir()
    (package / "__init__.py").write_text(ZOO_ENTRIES)
    (package / "animals.py").write_text(ZOO_METHODS)
    (package / "linear.py").write_text(ZOO_BACKBONE)
    (package / "broken.py").write_text("import a_module_that_nobody_has\n")
    names = [line.partition(" = ")[0] for line in ZOO_ENTRIES.splitlines() if " = entry(" in line]
    points = ["[bench.methods]", *(f"zoo-{name} = zoo:{name}" for name in names)]
    points += ["[bench.backbones]", "zoo-linear = zoo:linear"]
    info = folder / "zoo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")
    return folder


@pytest.fixture
def fresh_registries() -> Iterator[Callable[[], None]]:
    """Forget what the registries have read, now, on call and afterwards."""

    def forget() -> None:
        for known in (plugins.methods, plugins.backbones, datasets):
            known.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture
def zoo(
    zoo_folder: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: Callable[[], None], tmp_path: Path
) -> Iterator[Path]:
    """Install the package ``zoo`` in this process; ``ZOO_LOG`` and ``ZOO_MARKER`` are the files it writes."""
    monkeypatch.syspath_prepend(zoo_folder)
    monkeypatch.setenv("ZOO_LOG", str(tmp_path / "zoo.log"))
    monkeypatch.setenv("ZOO_MARKER", str(tmp_path / "zoo.marker"))
    fresh_registries()
    yield zoo_folder
    for name in [name for name in sys.modules if name == "zoo" or name.startswith("zoo.")]:
        del sys.modules[name]
