"""Cells as jobs of a Slurm cluster, by submitit: one array a time, results by the shared run folder."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import submitit
from submitit.slurm.slurm import _make_sbatch_string

from bench.errors import ConfigError
from bench.files import write_atomically
from bench.records import Status
from bench.run.conditions import threads_of
from bench.run.config import RunConfig, to_json
from bench.run.context import Emit
from bench.run.executors import count_of
from bench.run.executors.base import R, Running, SeveralAtOnce, Task
from bench.run.executors.remote import heard
from bench.run.executors.workers import work_together
from bench.run.needs import memory_bytes, time_s
from bench.run.session import Session

__all__ = ["SlurmExecutor", "script"]

MOST = 100
"""Jobs in flight, unless ``slurm:N`` says how many."""
JOBS = "jobs"
"""Folder of what jobs are told and say, within the run folder."""
LOOK_S = 1.0
"""Seconds between two looks at what a job says."""
STATE_S = 5.0
"""Seconds between two questions after its state."""
LATE_S = 20.0
"""Seconds that a shared folder may show a file late."""
CLUSTERS = ("slurm", "local")
_ENDINGS: dict[str, Status] = {"TIMEOUT": "timeout", "OUT_OF_MEMORY": "oom"}


class SlurmExecutor(SeveralAtOnce):
    """Computes every task in a job of its own; this process loads no rows, and waits while jobs do.

    Tasks that begin together are one array. What jobs say is JSON text in files of the run folder; none of submitit's
    pickles is read back.
    """

    def __init__(self, session: Session) -> None:
        """Look for the cluster.

        Raises:
            ConfigError: there is none here, or a setting of the jobs cannot be.
        """
        super().__init__(session)
        config = session.plan.config
        self.folder = config.out.absolute() / JOBS
        out, data_dir = config.out.absolute(), config.data_dir.absolute()
        self.settings: RunConfig = replace(config, out=out, data_dir=data_dir, threads=threads_of(config))
        self._most = count_of(config.executor_name) or MOST
        self._cluster, self._asked = cluster_and_jobs(config.slurm)
        if self._cluster == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError(
                "executor=slurm: there is no sbatch here. Run this on a machine that submits to the cluster; "
                "--show-script shows what would be submitted, --slurm cluster=local runs the jobs on this machine."
            )
        self._waiting: list[_Job[Any]] = []

    @property
    def slots(self) -> int:
        return self._most

    def begin(self, task: Task[R], emit: Emit) -> Running[R]:
        job = _Job(self, task, emit)
        self._waiting.append(job)
        return job

    def hand_in(self) -> None:
        """Submit the tasks that were begun since the last time, as one array."""
        if not self._waiting:
            return
        jobs, self._waiting = self._waiting, []
        executor = submitit.AutoExecutor(folder=self.folder, cluster=self._cluster)
        if self._cluster == "local":
            executor.update_parameters(timeout_min=_minutes(self.settings.timeout_s or 24 * 3600), name="bench")
        else:
            executor.update_parameters(**_parameters(self.session, self._asked))
        with executor.batch():
            handed = [executor.submit(compute, to_json(self.settings), job.task.text, job.place) for job in jobs]
        for job, one in zip(jobs, handed, strict=True):
            job.handed = one

    def leave(self, job: _Job[Any]) -> None:
        """Forget a job that has ended, or was never submitted."""
        if job in self._waiting:
            self._waiting.remove(job)

    def close(self) -> None:
        """Remove what jobs were told and said, but for the logs of those that ended without a result."""
        for kind in ("*.pkl", "*.json", "*.jsonl", "*.sh"):
            for file in self.folder.glob(kind):
                file.unlink(missing_ok=True)


def compute(config: str, task: str, place: str) -> None:
    """Body of a job.

    Args:
        config: the run's settings, as JSON.
        task: as JSON.
        place: the run's working folder, and the files for events and for the last word, as JSON.
    """
    where = json.loads(place)
    os.chdir(where["cwd"])
    with Path(where["events"]).open("a", encoding="utf-8") as events:

        def tell(kind: str, content: Any) -> None:
            if kind == "event":
                events.write(json.dumps([kind, content]) + "\n")
                events.flush()
                return
            with write_atomically(Path(where["last"])) as file:
                json.dump([kind, content], file)

        tell("event", {"event": "phase", "phase": "starting"})
        work_together(config, task, tell)


def script(session: Session) -> str:
    """What ``sbatch`` would be given for an array of the cells of a plan.

    Raises:
        ConfigError: a setting of the jobs cannot be.
    """
    config = session.plan.config
    cluster, asked = cluster_and_jobs(config.slurm)
    if cluster != "slurm":
        raise ConfigError("--show-script: --slurm cluster=local submits no script; leave cluster=local out.")
    folder, cells = config.out.absolute() / JOBS, len(list(session.plan.cells()))
    parameters = _parameters(session, asked)
    slurm = {key.removeprefix("slurm_"): value for key, value in parameters.items()}
    common = {"timeout_min": "time", "mem_gb": "mem", "name": "job_name"}
    named = {common.get(key, key): value for key, value in slurm.items()}
    named["mem"] = f"{parameters['mem_gb']}GB"
    command = shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(folder)])
    most = min(cells, count_of(config.executor_name) or MOST)
    text: str = _make_sbatch_string(command=command, folder=folder, map_count=most, **named)
    return text


def cluster_and_jobs(given: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Where jobs run, and further settings of theirs, from ``KEY=VALUE``.

    Raises:
        ConfigError: another form, a setting given twice, or one that the run sets itself.
    """
    found: dict[str, str] = {}
    own = {"time": "--timeout-s", "mem": "the plan", "cpus-per-task": "--cpus-per-cell", "array": "--executor slurm:N"}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise ConfigError(f"slurm={text}: write KEY=VALUE, as in partition=short.")
        if key in found:
            raise ConfigError(f"slurm={text}: {key} is given twice.")
        if key.replace("_", "-") in own:
            raise ConfigError(f"slurm={text}: {key} comes from {own[key.replace('_', '-')]}; leave it out.")
        found[key] = value
    cluster = found.pop("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise ConfigError(f"slurm=cluster={cluster}: choose one of {', '.join(CLUSTERS)}.")
    return cluster, found


def _parameters(session: Session, asked: dict[str, str]) -> dict[str, Any]:
    """What an array of jobs asks for, in submitit's words: enough for each cell of the plan."""
    config = session.plan.config
    cpus = config.cpus_per_cell or (config.threads or 1) * config.workers_per_cell
    gpus = math.ceil(config.gpus_per_cell or 0)
    return {
        "name": "bench",
        "timeout_min": _minutes(time_s(session)),
        "mem_gb": math.ceil(max(memory_bytes(session).values()) / 2**30),
        "cpus_per_task": cpus,
        **({"gpus_per_node": gpus} if gpus else {}),
        "slurm_array_parallelism": count_of(config.executor_name) or MOST,
        **({"slurm_additional_parameters": asked} if asked else {}),
    }


def _minutes(seconds: float) -> int:
    return max(math.ceil(seconds / 60), 1)


class _Job(Running[R]):
    """A task that is a job, or is about to be one."""

    def __init__(self, executor: SlurmExecutor, task: Task[R], emit: Emit) -> None:
        self._executor, self._emit = executor, emit
        self.task: Task[R] = task
        token = uuid4().hex[:16]
        self._events, self._last = (executor.folder / f"{token}.{kind}" for kind in ("jsonl", "json"))
        self.place = json.dumps({"cwd": str(Path.cwd()), "events": str(self._events), "last": str(self._last)})
        self.handed: Any = None
        self._read = 0
        self._look_at = self._ask_at = 0.0
        self._gone_at: float | None = None
        self._deadline: float | None = None

    def poll(self) -> R | None:
        self._executor.hand_in()
        now = time.monotonic()
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_S
        self._listen()
        if self._last.is_file():
            self._listen()
            kind, content = json.loads(self._last.read_text(encoding="utf-8"))
            found = heard(kind, content, self._emit)
            if isinstance(found, dict):
                settings = self._executor.settings
                cores = (settings.threads or 1) * settings.workers_per_cell
                return self._executor.returned(self.task, found, _at_once(found, cores))
            return None if found is None else self._ended(*found)
        if self._deadline is not None and now > self._deadline:
            self.stop()
            return self._ended("timeout", f"stopped after {self._executor.settings.timeout_s:g} s")
        return self._without_a_word(now)

    def _listen(self) -> None:
        """Pass on whole lines that were added."""
        with suppress(FileNotFoundError), self._events.open("rb") as file:
            file.seek(self._read)
            text = file.read()
            whole = text.rpartition(b"\n")[0]
            self._read += len(whole) + bool(whole)
            limit_s = self._executor.settings.timeout_s
            for kind, content in map(json.loads, whole.splitlines()):
                if self._deadline is None and limit_s is not None:
                    self._deadline = time.monotonic() + limit_s
                heard(kind, content, self._emit)

    def _without_a_word(self, now: float) -> R | None:
        """What comes of a job that has ended and has left no result, once one cannot be late any more."""
        if now >= self._ask_at:
            self._ask_at = now + STATE_S
            if self._gone_at is None and self.handed.done():
                self._gone_at = now
        if self._gone_at is None or now < self._gone_at + LATE_S:
            return None
        state = str(self.handed.state).partition(" ")[0].rstrip("+")
        log = self.handed.paths.stderr
        reason = f"job {self.handed.job_id} ended as {state} and left no result; its log is {JOBS}/{Path(log).name}"
        return self._ended(_ENDINGS.get(state, "failed"), reason)

    def _ended(self, status: Status, reason: str) -> R:
        return self.task.ended(self._executor.session, status, reason)

    def stop(self) -> None:
        self._executor.leave(self)
        if self.handed is not None and self._gone_at is None and not self._last.is_file():
            self.handed.cancel(check=False)


def _at_once(found: dict[str, Any], cores: int) -> int:
    """How many such cells the machine of a record has room for: what else is there, Slurm does not tell."""
    return max(int((found.get("host") or {}).get("cores") or 1) // cores, 1)
