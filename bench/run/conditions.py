"""What the records of a run will say of how its cells were computed, known before the first is: for times of others."""

from __future__ import annotations

from typing import Any

import torch

from bench import environment
from bench.run.config import RunConfig
from bench.run.executors import count_of, executors
from bench.run.session import Plan

__all__ = ["conditions", "threads_of"]


def threads_of(config: RunConfig) -> int:
    """CPU threads of every process that computes cells.

    As the settings say; else those of this process, shared out, or on a cluster the cores that each reserves.
    """
    workers = config.workers_per_cell
    if config.threads is not None:
        return config.threads
    if not executors().entry(config.executor_name.partition(":")[0]).here:
        return max((config.cpus_per_cell or workers) // workers, 1)
    return max(torch.get_num_threads() // (workers * (count_of(config.executor_name) or 1)), 1)


def conditions(plan: Plan) -> dict[str, Any]:
    """``host``, ``device`` and ``threads`` of the cells that the run computes, on a cluster by a machine like this one.

    ``environment.unlike`` says in what those of a record differ.
    """
    config = plan.config
    here = executors().entry(config.executor_name.partition(":")[0]).here
    at_once = (count_of(config.executor_name) or 1) if here else 1  # a cluster's nodes have room for who knows how many
    several = {environment.AT_ONCE: at_once, environment.WORKERS: config.workers_per_cell}
    return {
        "host": environment.host() | {key: number for key, number in several.items() if number > 1},
        "device": plan.device.type,
        "threads": threads_of(config),
    }
