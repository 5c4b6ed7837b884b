"""What runs in the workers of a Ray cluster; Ray finds it there by name, so that no code travels."""

from __future__ import annotations

import json
import os
from typing import Any

from bench.run.config import from_json, to_json
from bench.run.executors.freight import NOTHING, Store, is_there, unpacked
from bench.run.executors.workers import work_together

__all__ = ["Mailbox", "Reply", "compute"]

Reply = tuple[str, dict[str, bytes]]


class Mailbox:
    """An actor that keeps what cells tell until the run fetches it."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, str]] = []

    def put(self, token: str, text: str) -> None:
        """Keep a letter of the cell ``token``: a kind and its content, as JSON."""
        self._letters.append((token, text))

    def empty(self) -> list[tuple[str, str]]:
        """All that was kept."""
        found, self._letters = self._letters, []
        return found


def compute(config: str, task: str, where: str, mailbox: Any, parcel: dict[str, Any] | None) -> Reply:
    """Compute a task.

    Args:
        config: the run's settings, as JSON.
        task: as JSON.
        where: the token of the task for its mail, and ``freight.address``, as JSON.
        mailbox: the actor.
        parcel: what ``freight.pack`` gave, and under ``store`` a reference to the store; None: the task tries without.

    Returns:
        the node, the kind of the last word, and its content, as JSON, and what was written for the run folder; the kind
        is "lacks" where the task needs a parcel.
    """
    import ray  # noqa: PLC0415 - this module is also read where Ray is not installed

    given = json.loads(where)
    node = ray.get_runtime_context().get_node_id()
    last: list[Any] = []

    def tell(kind: str, content: Any) -> None:
        if kind in ("begun", "event"):
            mailbox.put.remote(given["token"], json.dumps([kind, content]))
        else:
            last[:] = [node, kind, content]

    settings = from_json(config)
    if parcel is None and not all(is_there(settings, given["address"])):
        return json.dumps([node, "lacks", None]), {}
    tell("begun", node)

    def fetch() -> Store:
        found: Store = ray.get((parcel or {})["store"])
        return found

    with unpacked(settings, given["address"], parcel or NOTHING, fetch) as (here, written):
        os.chdir(here.cwd)
        work_together(to_json(here.config), task, tell)
    return json.dumps(last), written
