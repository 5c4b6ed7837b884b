"""Cells as tasks of a Ray cluster: each reserves cores, memory and GPUs, and begins anew where its node is lost."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import ray
from ray import exceptions

from bench.cluster import join, nodes
from bench.errors import ConfigError
from bench.records import Status
from bench.run.conditions import threads_of
from bench.run.config import RunConfig, to_json
from bench.run.context import Emit
from bench.run.executors import count_of
from bench.run.executors.base import R, Running, SeveralAtOnce, Task
from bench.run.executors.freight import Named, address, bring_home, pack, pack_store
from bench.run.executors.ray_worker import Mailbox, compute
from bench.run.executors.remote import heard
from bench.run.needs import memory_bytes
from bench.run.session import Session

__all__ = ["RayExecutor"]

LOOK_S = 0.2
"""Seconds between two looks at the mail of cells."""
COUNT_S = 2.0
"""Seconds between two counts of the cluster's nodes."""
LOST_S = 15.0
"""Seconds in which a cluster finds out that a node is lost; until then nobody knows whether a worker died alone."""


class RayExecutor(SeveralAtOnce):
    """Computes every task in a fresh worker somewhere in the cluster; this process loads no rows.

    What is sent there and back is JSON text. A worker that dies with its node begins anew on another one; one that dies
    alone has killed its cell, which is then ``failed``, or ``oom`` where Ray says so.
    """

    def __init__(self, session: Session) -> None:
        """Join the cluster.

        Raises:
            ConfigError: there is none at the address, or none of its nodes has what a cell reserves.
        """
        super().__init__(session)
        config = session.plan.config
        self.cpus, self.gpus = config.cpus_per_cell or config.workers_per_cell, config.gpus_per_cell or 0.0
        self._ours = not ray.is_initialized()
        if self._ours:
            join(config.address)
        try:
            self._nodes: dict[str, dict[str, float]] = {}
            self._counted = 0.0
            self._most = count_of(config.executor_name)
            self._stores: dict[str, Any] = {}
            self.sends = False
            """Whether tasks take along what their node may lack: from the first one on that lacked something."""
            self._named = Named.by(config)
            self._memory = memory_bytes(session)
            self._refuse_too_much()
            out, data_dir = config.out.absolute(), config.data_dir.absolute()
            self.settings: RunConfig = replace(config, out=out, data_dir=data_dir, threads=threads_of(config))
            self.mail = _Mail()
            self._run = ray.remote(max_calls=1, max_retries=0)(compute)
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        """As many as all nodes that are up have room for, and no more than ``ray:N`` says."""
        room = sum(self.room(node) for node in self.nodes().values())
        return max(room if self._most is None else min(room, self._most), 1)

    def nodes(self, fresh: bool = False) -> dict[str, dict[str, float]]:
        """What the nodes that are up have, by their names."""
        if fresh or time.monotonic() > self._counted:
            self._nodes = {node["NodeID"]: node["Resources"] for node in nodes() if node["Alive"]}
            self._counted = time.monotonic() + COUNT_S
        return self._nodes

    def room(self, node: dict[str, float]) -> int:
        """How many cells a node computes at a time."""
        by_gpus = [node.get("GPU", 0.0) // self.gpus] if self.gpus else []
        by_memory = [node.get("memory", 0.0) // self._asked(max(self._memory.values()))]
        return int(min([node.get("CPU", 0.0) // self.cpus, *by_gpus, *by_memory]))

    def _asked(self, wanted: int) -> int:
        """Bytes to reserve: what a cell needs, and at most what the largest node has, so that it begins somewhere."""
        return min(wanted, int(max((node.get("memory", 0.0) for node in self.nodes().values()), default=wanted)))

    def _refuse_too_much(self) -> None:
        for flag, asked, resource in (("cpus-per-cell", self.cpus, "CPU"), ("gpus-per-cell", self.gpus, "GPU")):
            most = max((node.get(resource, 0.0) for node in self.nodes(fresh=True).values()), default=0.0)
            if asked > most:
                raise ConfigError(f"{flag}={asked:g}: the largest node of the Ray cluster has {most:g}. Ask for less.")

    def begin(self, task: Task[R], emit: Emit) -> Running[R]:
        return _Flying(self, task, emit)

    def start(self, task: Task[Any], token: str) -> Any:
        """Hand a task in; what is to come of it."""
        size = self._memory[task.cell.dataset, task.cell.backbone]
        asked = {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self._asked(size)}
        where = {"token": token, "address": address(self.session, task.cell, self._named)}
        run = self._run.options(**asked, scheduling_strategy="SPREAD", name=task.cell.title)
        parcel = self._parcel(task) if self.sends else None
        return run.remote(to_json(self.settings), task.text, json.dumps(where), self.mail.box, parcel)

    def _parcel(self, task: Task[Any]) -> dict[str, Any]:
        """What a task takes along; a store goes into the cluster's memory once."""
        label = task.cell.dataset
        if label not in self._stores:
            self._stores[label] = ray.put(pack_store(self.session, label))
        return {**pack(self.session, task.cell, self._named), "store": self._stores[label]}

    def close(self) -> None:
        if self._ours:
            ray.shutdown()


def _unable(error: exceptions.RayTaskError) -> ConfigError:
    """What is wrong with a node on which not even the suite can be begun."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ConfigError(
        f"a node of the Ray cluster cannot compute cells: {lines[-1].strip()}. Install the same version of "
        f"ctr-field-bench and of its plug-ins there."
    )


class _Mail:
    """What cells tell on the way, fetched for all of them together; without it a run goes on unwatched."""

    def __init__(self) -> None:
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        self.box: Any = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).options(scheduling_strategy=here).remote()
        self._asked: Any = None
        self._again_at = 0.0
        self._letters: dict[str, list[tuple[str, Any]]] = {}

    def of(self, token: str) -> list[tuple[str, Any]]:
        """What came for ``token`` since the last time."""
        if self._asked is None and time.monotonic() > self._again_at:
            self._asked = self.box.empty.remote()
        if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            with suppress(exceptions.RayError):
                for who, text in ray.get(self._asked):
                    self._letters.setdefault(who, []).append(tuple(json.loads(text)))
            self._asked, self._again_at = None, time.monotonic() + LOOK_S
        return self._letters.pop(token, [])


class _Flying(Running[R]):
    """A task in the cluster, on one node after another where nodes are lost."""

    def __init__(self, executor: RayExecutor, task: Task[R], emit: Emit) -> None:
        self._executor, self._emit = executor, emit
        self._task: Task[R] = task
        self._begin()

    def _begin(self) -> None:
        self._token = uuid4().hex
        self._node: str | None = None
        self._deadline: float | None = None
        self._dead_at: float | None = None
        self._coming = self._executor.start(self._task, self._token)

    def poll(self) -> R | None:
        self._listen()
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.stop()
            return self._ended("timeout", f"stopped after {self._executor.settings.timeout_s:g} s")
        if not ray.wait([self._coming], timeout=0)[0]:
            return None
        try:
            said, written = ray.get(self._coming)
        except exceptions.OutOfMemoryError:
            return self._ended("oom", "Ray ended its worker, because the node's memory ran out")
        except exceptions.RayTaskError as error:
            raise _unable(error) from None
        except exceptions.RayError as error:
            return self._died(error)
        self._listen()
        node, kind, content = json.loads(said)
        return self._take(node, kind, content, written)

    def _take(self, node: str, kind: str, content: Any, written: dict[str, bytes]) -> R | None:
        """What the last word of a worker on ``node`` says; None where the task has to begin anew."""
        if kind == "lacks":
            self._executor.sends = True
            self._begin()
            return None
        bring_home(self._executor.session.folder.path, written)
        found = heard(kind, content, self._emit)
        if isinstance(found, dict):
            room = self._executor.room(self._executor.nodes().get(node, {}))
            return self._executor.returned(self._task, found, room)
        return None if found is None else self._ended(*found)

    def _listen(self) -> None:
        for kind, content in self._executor.mail.of(self._token):
            if kind == "begun":
                self._node, limit_s = content, self._executor.settings.timeout_s
                self._deadline = None if limit_s is None else time.monotonic() + limit_s
            else:
                heard(kind, content, self._emit)

    def _died(self, error: exceptions.RayError) -> R | None:
        """Begin anew where the node is lost; else it was the cell, as soon as that is certain."""
        lost = isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError)
        if lost or (self._node is not None and self._node not in self._executor.nodes()):
            self._emit(
                {"event": "step", "text": f"a node was lost: {self._task.cell.title} begins anew on another one"}
            )
            self._begin()
            return None
        if self._dead_at is None:
            self._dead_at = time.monotonic()
        if time.monotonic() < self._dead_at + LOST_S:
            return None
        return self._ended("failed", "its worker died, for lack of memory or by a fault in native code")

    def _ended(self, status: Status, reason: str) -> R:
        return self._task.ended(self._executor.session, status, reason)

    def stop(self) -> None:
        with suppress(exceptions.RayError, ValueError):
            ray.cancel(self._coming, force=True)
