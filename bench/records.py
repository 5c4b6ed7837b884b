"""What is kept of a cell: one documented row type, one JSON file a cell, one typed table for a whole run.

Seconds, bytes and rows are in the names. ``None`` means "not applicable" or "not measured"; a number that
is not finite is stored as ``None``, because JSON has no word for it.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from bench.errors import ConfigError, DataError, suggest
from bench.files import write_atomically
from bench.plain import plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "STATUSES",
    "CellRecord",
    "RunFolder",
    "Status",
    "display_title",
    "load_frame",
    "plain",
    "to_frame",
]

Status = Literal["ok", "skipped", "failed", "oom", "timeout"]
STATUSES: tuple[Status, ...] = typing.get_args(Status)
"""ok: has results · skipped: method and setting do not fit, or all fields have one score · failed: an error · oom,
timeout: out of either."""

_HASH_CHARS = 16


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """One cell: its configuration, its results, and what is needed to trace and repeat it."""

    # -- which cell ----------------------------------------------------------------------------------------
    dataset: str
    """Data set as asked for, overrides included."""
    dataset_title: str | None = None
    """Title in a user's own card, no part of the cell's identity; None where the data set is registered."""
    dataset_revision: str | None = None
    """Revision of the data set's card; of data read from files, a dash and a checksum of files and card follow."""
    split_rows: dict[str, int] = field(default_factory=dict)
    """Rows of ``train``, ``valid`` and ``test``."""
    positives: dict[str, int] | None = None
    """Those of them with label 1, by split."""
    vocabulary_rows: int | None = None
    """Rows of the embedding table over all fields, reserved ones included."""
    order: dict[str, Any] | None = None
    """Of rows that were read while models trained: ``order``, ``block`` and ``window``; None: they were in memory."""
    backbone: str
    """Registered name of the CTR model."""
    backbone_params: dict[str, Any] = field(default_factory=dict)
    """Resolved parameters of the backbone."""
    method: str
    """Registered name of the method."""
    method_title: str | None = None
    """Name of the method as a paper prints it."""
    method_order: int | None = None
    """Position among the registered methods: the order of the rows in every table."""
    label: str
    """The method as asked for: its name, and its overrides in brackets."""
    family: str | None = None
    """Kind of the method, ``control`` among them; older records do not hold it."""
    is_baseline: bool = False
    """Whether the method keeps every field, so that the times of the others are ratios to its own."""
    params: dict[str, Any] = field(default_factory=dict)
    """Resolved parameters of the method."""
    profile: dict[str, Any] = field(default_factory=dict)
    """Resolved training profile: its ``name`` and every setting; ``lr`` is a list where it was tuned. ``set`` holds
    what the run set itself to other values than the named profile's, and ``base`` where the profile is a user's own."""
    tuning: dict[str, Any] | None = None
    """How the learning rate was tuned: ``lr``, the one chosen, and every trial with validation AUC and seconds; of a
    search also ``space``, ``default`` and chosen ``values`` by setting (``lr``, ``l2``, ``params.NAME``)."""
    penalty: dict[str, Any] | None = None
    """How the L2 of a table of one's own was chosen, in the same form; None where card or settings name it."""
    plugins: dict[str, Any] | None = None
    """Code that is not the project's own, by ``method`` and ``backbone``: ``file`` and ``sha256`` of one in a single
    file (part of the cell's identity), ``package`` and ``version`` of an installed one."""
    budget: str | None = None
    """Rule that turns τ into what is kept: native, exact or field; bytes, cost or groups where a field budget counts
    those (``run --budget-by``) and not fields; match:LABEL where it is the bytes of the row LABEL."""
    match: dict[str, Any] | None = None
    """That row's cell: ``label``, ``config_hash``, and embedding ``scalars`` that it kept ``of`` all, or None."""
    tau: float | None = None
    """Prune ratio, share of the unit that is removed; None where the method does not use it."""
    seed: int

    # -- how it ended --------------------------------------------------------------------------------------
    status: Status
    reason: str | None = None
    """Why the status is not ok."""
    traceback: str | None = None
    """Traceback of a failure, its paths relative to the package."""

    # -- quality on the test split -------------------------------------------------------------------------
    auc: float | None = None
    """Exact area under the ROC curve, from logits."""
    logloss: float | None = None
    """Mean binary cross-entropy, nat per row."""
    valid_auc: float | None = None
    """AUC of the evaluated weights on the validation split, by which they were chosen."""
    base_logloss: float | None = None
    """Cross-entropy of the constant rate of positives on the same rows, nat per row."""
    line: dict[str, float] | None = None
    """Of cells that keep every field: ``auc`` of the logistic regression on the same rows (``bench.run.line``), its
    ``strength`` C and training ``rows``, and the ``difference`` of this cell's AUC to it with the ``error`` of that
    (DeLong); None where it was not fitted."""
    pcoc: float | None = None
    """Mean prediction over the rate of positives; 1 is calibrated. Known where predictions are kept, as the next."""
    ece: float | None = None
    """Expected calibration error over 20 bins of equal mass."""
    predictions: dict[str, Any] | None = None
    """Of the test logits in ``predictions/`` of the run folder: ``rows``, ``sha256`` of the file, and ``labels`` and
    ``labels_sha256``, name and checksum of the file with the rows' labels; ``valid``, the same of validation rows where
    they were asked for; None where none are kept."""
    recovery: dict[str, Any] | None = None
    """Agreement with the known roles of generated data, or the share of junk among kept fields; None for other data."""

    # -- time, seconds -------------------------------------------------------------------------------------
    pt_s: float | None = None
    """Pretraining: everything that decides what to keep."""
    pt_shared: bool = False
    """Whether the selection was computed once for several cells; pt_s is charged in full nevertheless."""
    ct_s: float | None = None
    """Continued training until it stops, surgery and validation passes included."""
    tt_s: float | None = None
    """Total training: pt_s + ct_s."""
    it_s: float | None = None
    """Inference: one pass over the whole test split, median of repeats."""
    it_rows: int | None = None
    """Rows of that pass."""
    it_csr_s: float | None = None
    """The same pass with a masked table in CSR, without its zeros; None where nothing is masked."""
    surgery_s: float | None = None
    """Slicing tables and layers; contained in ct_s."""
    warmup_s: float | None = None
    """A method's own warm-up phase; contained in ct_s."""
    compile_s: float | None = None
    """Compilation; in none of the other times."""
    tune_s: float | None = None
    """Trials of the learning rate, for all seeds together; in none of the other times."""
    io_s: float | None = None
    """Reading the encoded store; in none of the other times."""
    ct_best_s: float | None = None
    """Continued training up to the best validation result."""
    ct_epoch_s: float | None = None
    """Median epoch of continued training without validation."""
    it_row_p50_s: float | None = None
    """Median latency of one row."""
    it_row_p99_s: float | None = None
    """99th percentile of the latency of one row."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by named phase, the untracked remainder included."""
    disturbed: dict[str, str] | None = None
    """Which of ``pt``, ``ct`` and ``it`` other work disturbed, and how; tables leave them out. None: not known. With a
    timing pass: those of which no repeat was undisturbed."""
    timing: dict[str, Any] | None = None
    """The timing pass (``run --timing``) whose medians the times above are: ``repeats``, how many; ``pt_s``, ``ct_s``,
    ``it_s`` and ``disturbed`` of each; ``host``, ``device`` and ``threads`` of all; ``differs``, which repeat gave
    another result than the record, or None. Without a pass None: the times are of the run that made the record."""

    # -- training and selection ----------------------------------------------------------------------------
    epochs: float | None = None
    """Epochs of continued training; a fraction where validation is more frequent than epochs."""
    best_epoch: float | None = None
    """Epoch of the weights that were evaluated."""
    field_names: list[str] = field(default_factory=list)
    """Names of the F fields, in schema order."""
    kept_fields: list[int] | None = None
    """Indices of the K kept fields, increasing."""
    field_terms: dict[str, Any] | None = None
    """On what terms the card lets fields be dropped, by name: those ``locked``, ``groups`` and ``costs``; None where it
    says nothing."""
    field_scores: list[float | None] | None = None
    """Importance by field [F], higher is kept first; None for methods that do not score fields."""
    tie_count: int | None = None
    """Fields whose scores tie across the cut between kept and dropped."""
    gates: dict[str, float] | None = None
    """How far gates or controllers were trained: ``steps``, ``every``, ``lr``, ``travel`` and ``rows`` as
    ``bench.method.Remarks`` says; None where there are none."""
    selection: dict[str, Any] | None = None
    """Further details of what was selected: shares of values, dimensions or weights."""
    n_rows_used: int | None = None
    """Rows of train that the method looked at to select."""
    optimizer: str | None = None
    """Optimizer of continued training; rows with different ones are not ranked by time."""

    # -- size ----------------------------------------------------------------------------------------------
    network_params: int | None = None
    """Parameters outside the embedding table and the linear weights."""
    embedding_rows: int | None = None
    """Rows of the embedding table that remain."""
    embedding_params: int | None = None
    """Parameters of the embedding table that remain."""
    embedding_bytes: int | None = None
    """Bytes that hold those parameters."""
    weights: dict[str, Any] | None = None
    """Of a table whose single scalars are masked (``bench.run.weights``): how many are ``active`` ``of`` all,
    ``empty_rows`` without any, active ones a row in ``quantiles`` and in the mean ``by_field``, bytes in three
    encodings, how often the mask moved (``updates``), and the seconds of that (``mask_update_s``) and of cutting
    gradients (``mask_apply_s``, on a CPU); None where nothing is masked."""
    flops_per_row: int | None = None
    """Floating-point operations of a forward pass, two a multiply-add."""
    peak_mem_bytes: int | None = None
    """Peak memory of the cell; None on the CPU unless the cell had a process of its own."""

    # -- where it comes from -------------------------------------------------------------------------------
    resumed: bool = False
    """Whether the cell was continued after an interruption; its times are left out of time tables."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Diagnostics that the method logged, and of the harness: ``flags`` (``bench.flags``), ``execution``, by fit, which
    steps a GPU ran as graphs and whether rows were paged in, and ``pretrain_rows``, rows of a pretraining's subset."""
    config_hash: str
    """sha256 of the canonical resolved configuration: the identity of the cell."""
    protocol: int | None = None
    """Version of the rules of measurement, part of ``config_hash``; older records, all of version 1, do not hold it."""
    recorded: str | None = None
    """Day when the cell was computed, of UTC, as 2026-01-31."""
    origin: dict[str, Any] | None = None
    """Of a cell that was taken from another run (``run --baselines``): ``source``, the name of that folder or bundle,
    ``sha256`` of its record there, and ``times``, whether its times were taken too; None: computed for this run."""
    git: str | None = None
    """Commit of the code."""
    host: dict[str, Any] = field(default_factory=dict)
    """Machine, see ``bench.environment.host``; no host name."""
    device: str | None = None
    threads: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of Python and of the packages that matter."""
    command: str | None = None
    """Command line that made the cell."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str = "record") -> Self:
        """Build a record from JSON values; keys that are missing take their defaults.

        Raises:
            DataError: an unknown key, a missing identity key or a wrong type; the message names ``source``.
        """
        known = {item.name: item for item in fields(cls)}
        for key in values:
            if key not in known:
                raise DataError(
                    f"{source}: unknown key {key!r}.{suggest(key, known)} Was it written by a newer version? "
                    "Then upgrade ctr-field-bench; otherwise delete the file and run the cell again."
                )
        missing = [name for name in _REQUIRED if values.get(name) is None]
        if missing:
            raise DataError(f"{source}: no {', '.join(missing)}. Delete the file and run the cell again.")
        checked: dict[str, Any] = {k: _checked(k, v, source) for k, v in values.items() if v is not None}
        return cls(**checked)

    def to_dict(self) -> dict[str, Any]:
        """JSON values of every key, in the order of declaration."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}


_REQUIRED = ("dataset", "backbone", "method", "label", "seed", "status", "config_hash")
_KINDS = {item.name: str(item.type).removesuffix(" | None").partition("[")[0] for item in fields(CellRecord)}
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Status": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}
_DTYPES = {"str": "string", "Status": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


def _checked(key: str, value: object, source: str) -> object:
    kind = _KINDS[key]
    fits = isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
    if not fits or (kind == "Status" and value not in STATUSES):
        wanted = " | ".join(STATUSES) if kind == "Status" else kind
        raise DataError(
            f"{source}: {key}={value!r} is not of the kind {wanted}. Delete the file and run the cell again."
        )
    return float(typing.cast(float, value)) if kind == "float" else value


def display_title(label: str, title: str | None) -> str:
    """A title with the overrides of its label: ``name[a=1]`` titled "Name" is ``Name [a=1]``."""
    base, bracket, overrides = label.partition("[")
    return f"{title or base} [{overrides}" if bracket else title or base


class RunFolder:
    """A run on disk: ``run.toml``, ``cells/*.json``, ``predictions/``, ``tables/``, ``figures/``; made by writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "run.toml"
        self.cells = path / "cells"
        self.predictions = path / "predictions"
        self.tables = path / "tables"
        self.figures = path / "figures"

    def cell_file(self, config_hash: str) -> Path:
        return self.cells / f"{config_hash[:_HASH_CHARS]}.json"

    def write(self, record: CellRecord) -> Path:
        """Store ``record``, in the place of an earlier one of the same cell; whole or not at all."""
        target = self.cell_file(record.config_hash)
        text = json.dumps(record.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        with write_atomically(target) as file:
            file.write(f"{text}\n")
        return target

    def read(self, config_hash: str) -> CellRecord | None:
        """Return the record of a cell, or None where there is none.

        Raises:
            DataError: the file is there but is no readable record.
        """
        file = self.cell_file(config_hash)
        return _read_record(file) if file.is_file() else None

    def record_files(self) -> list[Path]:
        """Files of all records, sorted by name."""
        return sorted(self.cells.glob("*.json"))

    def records(self) -> list[CellRecord]:
        """All records, in the order of their file names."""
        return [_read_record(file) for file in self.record_files()]

    def require(self) -> Self:
        """Return the folder itself.

        Raises:
            ConfigError: it does not hold the record of any cell.
        """
        mend = "Give a folder written by `python -m bench run --out FOLDER`."
        if not self.path.is_dir():
            raise ConfigError(f"{self.path} is no run folder: it does not exist. {mend}")
        if self.record_files():
            return self
        if self.config_file.is_file():
            raise ConfigError(f"{self.path} has no finished cell yet. Repeat the `python -m bench run` that began it.")
        raise ConfigError(f"{self.path} is no run folder: it has no cells/*.json. {mend}")


def _read_record(file: Path) -> CellRecord:
    mend = "Delete the file and run the cell again."
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is not readable as a cell record ({error}). {mend}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file} holds {type(values).__name__} where a JSON object is expected. {mend}")
    record = CellRecord.from_dict(values, source=str(file))
    if file.stem != record.config_hash[:_HASH_CHARS]:
        raise DataError(f"{file} holds the cell {record.config_hash[:_HASH_CHARS]}: it was renamed or copied. {mend}")
    return record


def load_frame(run: str | Path | RunFolder) -> pd.DataFrame:
    """Load a run as a table: one row a cell, one column a key, sorted, with the same dtypes for every run.

    Text is ``string``, whole numbers ``Int64``, other numbers ``float64``, truth values ``boolean``; lists
    and dictionaries stay Python objects.

    Raises:
        ConfigError: ``run`` is no run folder.
        DataError: a file in it is no readable record.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
    return to_frame(folder.require().records())


def to_frame(records: Iterable[CellRecord]) -> pd.DataFrame:
    """Put records in a table; see ``load_frame``."""
    import pandas as pd  # noqa: PLC0415 - slow to import, and --help needs none of it

    rows = list(records)
    columns: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        values = [getattr(record, name) for record in rows]
        columns[name] = pd.Series(values, dtype=_DTYPES.get(kind, "object"))
    order = ["dataset", "backbone", "method_order", "label", "tau", "seed", "config_hash"]
    return pd.DataFrame(columns).sort_values(order, kind="stable", ignore_index=True)
