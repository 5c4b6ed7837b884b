"""Settings of a run: one dataclass is the flags, the keys of a TOML file and the documentation of both.

Precedence: an experiment's values, then those of ``--config``, then flags; settings of the training profile one by one.
Without data sets the quick start runs.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from bench.budget import Budgeted
from bench.data.prepare.workers import Workers
from bench.errors import ConfigError, suggest
from bench.plugin_files import PluginFile, read_plugins
from bench.profiles import AUTO, Optimizer, OwnProfile, Precision
from bench.run.best import table_text, tuned_lines
from bench.run.settings import is_file, own_profile, pairs, read_own, settings, spelled, table_of, texts

DEFAULT_EXPERIMENT = "table2"
QUICK_START = "quickstart"
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SHORT = {"epochs": "max_epochs", "precision": "precision", "optimizer": "optimizer", "compile": "compile"}
"""Flags that stand for a setting of the profile."""
PREPARE_WORKERS = "--prepare-workers"
_NOT_KEPT = (
    "config", "experiment", "plan", "timing", "own", "raw", "prepare_workers", "tuned", "plugin_texts", "address",
    "show_script",
)  # fmt: skip
"""What run.toml does not hold: whence settings came, and what is done with a run once it is what they say."""
_KEPT_IF_SET = (
    "baselines", "budget_by", "trials", "l2_grid", "keep_predictions", "sections", "valid_predictions", "slurm",
    "workers_per_cell",
)  # fmt: skip
"""What it holds only where it is not the default: that of an ordinary run is what it was before there were others."""


@dataclass(frozen=True)
class RunConfig:
    """Compare feature-selection methods: every method on every data set, backbone, prune ratio and seed.

    Names take parameters in brackets, e.g. "light-fmp[noise=sample]". Without --datasets the built-in data run.
    """

    datasets: tuple[str, ...] = ()
    """Data sets by name, or paths of your own cards (.toml)."""
    methods: tuple[str, ...] = ("paper",)
    """Methods by name; "paper" for those of the paper, "all" for every one that needs no file of yours."""
    backbones: tuple[str, ...] = ()
    """CTR models by name, or "all"."""
    plugin: tuple[str, ...] = ()
    """Python files of methods or backbones of your own (`python -m bench new`); each is called as its file is, with
    dashes, and computed again when the file has changed."""
    seeds: int = 1
    """Number of seeds: 0, 1, ..., seeds - 1."""
    prune_ratio: tuple[float, ...] = (0.5,)
    """Shares of the fields to prune, each in [0, 1)."""
    budget_by: Budgeted = "count"
    """What a prune ratio is a share of, where fields are dropped: their number; the bytes of their embeddings; their
    cost, or the number of their groups, as cards say under [fields]."""
    profile: str = AUTO
    """Training settings: paper, anchor or small; auto: small below 200,000 training rows, else anchor; or a TOML file
    of your own, with base = "small" and what differs from it."""
    set: tuple[str, ...] = ()
    """Settings of the profile to replace, e.g. dim=16 mlp=200,100 lr=3e-4; over your profile and the data's card."""
    tune: Literal["none", "lr", "optuna"] = "none"
    """lr: choose each method's learning rate from the profile's lr_grid by validation AUC, before its cells run; a rate
    given by --set joins the grid. optuna: search its rate, L2 and what the method declares in --trials trials."""
    trials: int = 20
    """Trials of --tune optuna, as many for every method; the first has the defaults."""
    l2_grid: tuple[float, ...] = ()
    """Values of L2 that one is chosen from on a table of your own whose card and settings name none; by default 1e-5,
    1e-4, 1e-3, 1e-2 and the profile's own."""
    epochs: int | None = None
    """Most epochs of the final training, in place of the profile's; short for --set max_epochs=N."""
    precision: Precision | None = None
    """Matrix products: highest = float32 (all our profiles), high = TF32, medium = bfloat16 inside, bf16 = whole
    backbones."""
    optimizer: Optimizer | None = None
    """adam (all our profiles); lazy-adam: embeddings of values that a batch lacks stay as they are, which is other
    mathematics."""
    compile: bool = False
    """Translate backbones with torch.compile."""
    rows: int | None = None
    """Use only this many rows of each data set, drawn before the split."""
    split: Literal["random", "temporal"] = "random"
    """temporal: train on the earliest rows, validate and test on later ones; short for NAME[split=temporal]."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    out: Path = Path("results/runs/default")
    """Run folder; what it already holds is not computed again."""
    data_dir: Path = Path("data")
    """Folder of the encoded data sets."""
    memory: str | None = None
    """What a process of the run may take of main memory, e.g. 8GB or 2GiB: rows that do not fit are read from the disk
    while a model trains, and shuffled some at a time, which the records say. By default so where rows take more than
    60 % of the machine's memory."""
    raw: tuple[str, ...] = ()
    """Raw data of the table that --datasets names, as `prepare --raw` takes them: its store is made first where it is
    not there, and compared with them where it is."""
    prepare_workers: Annotated[str, tyro.conf.arg(metavar="N|ray|ray:N")] = "1"
    """Who reads --raw, as `prepare --workers`: 1, the threads of this process; N processes; ray, the tasks of the Ray
    cluster at --address (ray:N: N at a time), whatever --executor computes the cells."""
    baselines: tuple[Path, ...] = ()
    """Run folders, or bundles of `submit`, whose recorded cells join this run's tables where data set, backbone, prune
    ratio and seed are this run's: each is checked, and none is computed again."""
    isolate: bool = False
    """Run every cell in a process of its own: its memory is measured, its death is survived."""
    executor: str | None = None
    """Where cells run, by name: inline; process; process:N, N at a time, which share the machine's threads and GPUs;
    ray or slurm, on a cluster; or one of your own; by default process with --isolate, else inline."""
    workers_per_cell: int = 1
    """Processes that compute one cell together, where one is too slow: each divides the network's work on a batch with
    the others, and the result is that of one process up to the order of sums; they share out threads, or GPUs. Without
    --executor: process."""
    address: str | None = None
    """Address of the Ray cluster of --executor ray and --prepare-workers ray; by default that in RAY_ADDRESS, or one is
    made of this machine, for this run."""
    cpus_per_cell: int | None = None
    """Cores that ray and slurm reserve for a cell, and its threads; 1 by default, or one for each of its workers."""
    gpus_per_cell: float | None = None
    """GPUs that ray and slurm reserve for a cell; none by default."""
    slurm: tuple[str, ...] = ()
    """Settings of jobs as of sbatch, KEY=VALUE: partition=short account=ads; cluster=local: jobs on this machine."""
    show_script: bool = False
    """Print what --executor slurm would submit, and stop."""
    timeout_s: float | None = None
    """Seconds after which an isolated cell is stopped."""
    checkpoint: bool = False
    """Keep the inner state of the running cell, so that it resumes inside; its times are then not tabulated."""
    rerun: Literal["missing", "always"] = "missing"
    """missing: compute cells that have no result yet; always: compute all again."""
    keep_predictions: Literal["auto", "always", "never"] = "auto"
    """Keep the test logits of every cell in predictions/ of the run folder, 4 bytes a row: for intervals of differences
    over test rows, and for others to check. auto: up to 200,000 test rows."""
    valid_predictions: bool = False
    """Keep the logits of the validation rows too, in predictions/valid/, whatever the number of rows: what a choice
    between models can be made by without a look at the test rows. Finished cells without them are computed again."""
    sections: Literal["auto", "on", "off"] = "auto"
    """Headings in tables by what methods select: whole fields, values, dimensions, single weights, fields of each row.
    auto: where single weights stand beside something else."""
    timing: int | None = None
    """Time the cells for tables that are meant to be read: train every cell so many times more (3 where no number is
    given), the methods of a data set, backbone and seed in turn, each in a process of its own, on an idle machine.
    Times become medians with their range; results stay."""
    threads: int | None = None
    """CPU threads; all cores by default."""
    plan: bool = False
    """Show rows, vocabulary and memory, then about how long the run will take, and stop."""
    experiment: str | None = None
    """Named settings to start from; see `python -m bench list experiments`."""
    config: Path | None = None
    """TOML file with any of these settings."""
    own: Annotated[OwnProfile | None, tyro.conf.Suppress] = None
    """The profile of one's own that ``profile`` names, as it was read."""
    tuned: Annotated[str | None, tyro.conf.Suppress] = None
    """What earlier searches have chosen, the [[tuned]] tables of a ``best.toml``: these are not made again."""
    plugin_texts: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    """The files of ``plugin`` as they were read, so that all processes of a run compute with one version."""

    @property
    def plugin_files(self) -> list[PluginFile]:
        """The plug-ins that came by files.

        Raises:
            ConfigError: a file cannot be read.
        """
        if self.plugin and not self.plugin_texts:
            return read_plugins(self.plugin)
        return [PluginFile(path, text) for path, text in zip(self.plugin, self.plugin_texts, strict=True)]

    @property
    def training(self) -> str | OwnProfile:
        """The training profile: the name of one of ours, or one of the user's own.

        Raises:
            ConfigError: its file cannot be used.
        """
        if self.own is not None and self.own.name == self.profile:
            return self.own
        return read_own(Path(self.profile)) if is_file(self.profile) else self.profile

    @property
    def profile_changes(self) -> dict[str, Any]:
        """Fields of the training profile that these settings replace.

        Raises:
            ConfigError: one that cannot be, or that a flag and ``set`` give with two values.
        """
        changes = settings(self.set, "--set")
        for flag, name in SHORT.items():
            value = getattr(self, flag)
            if value is None or value is False:
                continue
            if changes.setdefault(name, value) != value:
                raise ConfigError(
                    f"{flag}={spelled(value)} and --set {name}={spelled(changes[name])} do not agree; leave one out."
                )
        return changes

    @property
    def preparers(self) -> Workers:
        """Who reads ``raw``.

        Raises:
            ConfigError: as ``Workers.read``.
        """
        found = Workers.read(self.prepare_workers, flag=PREPARE_WORKERS)
        return dataclasses.replace(found, address=self.address if found.on_ray else None)

    @property
    def executor_name(self) -> str:
        """The executor asked for, by name or by ``isolate``."""
        return self.executor or ("process" if self.isolate or self.workers_per_cell > 1 else "inline")


def experiment_names() -> list[str]:
    return sorted(file.stem for file in EXPERIMENTS.glob("*.toml"))


def experiment_title(name: str) -> str:
    """First comment line of the experiment's file."""
    return (EXPERIMENTS / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def base_config(experiment: str | None, config: Path | None, has_datasets: bool) -> RunConfig:
    """The settings below the flags.

    Args:
        experiment: name asked for, or None.
        config: TOML file asked for, or None.
        has_datasets: whether the flags name data sets.

    Raises:
        ConfigError: an unknown experiment or key, a file that cannot be read, a value of the wrong type.
    """
    given = _values(_read(config), str(config)) if config is not None else {}
    name = experiment or given.get("experiment")
    if name is None:
        name = DEFAULT_EXPERIMENT if has_datasets or given.get("datasets") else QUICK_START
    if name not in experiment_names():
        raise ConfigError(f"experiment {name!r} is unknown.{suggest(name, experiment_names())}")
    values = _values(_read(EXPERIMENTS / f"{name}.toml"), f"experiment {name}")
    return dataclasses.replace(RunConfig(), **over(values, given), config=config)


def over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Values of one source over those of another; settings of the profile one by one, whichever flag they came by.

    Raises:
        ConfigError: a setting is given in an unknown form, or twice.
    """
    below, above = (pairs(values.get("set", ()), "--set") for values in (lower, upper))
    free = {flag for flag, name in SHORT.items() if name in above}
    covered = {name for flag, name in SHORT.items() if flag in upper} | above.keys()
    left = {key: text for key, text in below.items() if key not in covered} | above
    merged = {key: value for key, value in lower.items() if key not in free} | dict(upper)
    return merged | {"set": tuple(f"{key}={text}" for key, text in left.items())}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"config={file} cannot be read: {error}. Give a TOML file with run settings.") from None


def _values(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    hints = typing.get_type_hints(RunConfig)
    unknown = ("config", "own", "plugin_texts")
    known = [field.name for field in dataclasses.fields(RunConfig) if field.name not in unknown]
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            raise ConfigError(f"{where}: key {key!r} is unknown.{suggest(name, known)}")
        if name == "tuned":
            values[name] = table_text(value, where)
            continue
        if name == "profile" and isinstance(value, dict):
            own = own_profile(value, f"{where}: [profile]")
            values |= {"profile": own.name, "own": own}
            continue
        if name == "set" and isinstance(value, dict):
            value = list(texts(value, f"{where}: [set]"))  # noqa: PLW2901
        values[name] = _typed(value, hints[name], f"{where}: {key}={value!r}")
    return values


def _typed(value: Any, hint: Any, where: str) -> Any:
    """A TOML value as the annotated type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union and typing.get_origin(args[0]) is Literal:  # one of some words, or left out
        origin, args = Literal, typing.get_args(args[0])
    if origin is tuple:
        if isinstance(value, list):
            return tuple(_typed(item, args[0], f"{where}: {item!r}") for item in value)
        return (_typed(value, args[0], where),)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{where} is not allowed; choose one of {', '.join(map(str, args))}.")
        return value
    allowed = [arg for arg in (args or (hint,)) if arg is not type(None)]
    for kind in allowed:
        if kind is Path and isinstance(value, str):
            return Path(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
            return value
    raise ConfigError(f"{where} is not of type {' or '.join(kind.__name__ for kind in allowed)}.")


def to_json(config: RunConfig) -> str:
    """The resolved settings as text for another process of the run; ``from_json`` takes it back."""
    return json.dumps(dataclasses.asdict(config), default=str)


def from_json(text: str) -> RunConfig:
    """The settings whose ``to_json`` this is."""
    hints = typing.get_type_hints(RunConfig)
    given = {name: value for name, value in json.loads(text).items() if value is not None}
    return RunConfig(**{name: _typed(value, hints[name], name) for name, value in given.items()})


def to_toml(config: RunConfig, comment: str) -> str:
    """The resolved settings as a TOML file that ``--config`` takes; ``comment`` goes on top."""
    lines = [f"# {comment}"]
    for field in dataclasses.fields(RunConfig):
        value = getattr(config, field.name)
        own = field.name == "profile" and config.own is not None
        kept = field.name not in _NOT_KEPT and (field.name not in _KEPT_IF_SET or value != field.default)
        if value is not None and not own and kept:
            lines.append(f"{field.name} = {_toml(value)}")
    if config.own is not None:
        named = {"name": config.own.name, "base": config.own.base}
        lines += ["", "[profile]"]
        lines += [f"{key} = {_toml(value)}" for key, value in (named | table_of(config.own.values)).items()]
    if config.tuned is not None:
        lines += tuned_lines(config.tuned)
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
