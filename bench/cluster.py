"""Joining a Ray cluster, an extra: whoever needs one imports this file inside the function that does."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import ray

from bench.errors import ConfigError

KNOCK_S = 10.0
"""Seconds that a cluster has to answer."""


def join(address: str | None) -> None:
    """Join a cluster, or make this machine one where no address is given and none is known.

    Raises:
        ConfigError: nobody answers.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    alone = address is None and "RAY_ADDRESS" not in os.environ
    more: dict[str, Any] = {"include_dashboard": False} if alone else {"address": address}
    with _own_signals():
        try:
            _knock(address)
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **more)
            _quiet()
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            place = address or os.environ.get("RAY_ADDRESS", "none")
            raise ConfigError(
                f"address={place}: no Ray cluster can be used there ({why}). `ray start --head` makes one here; "
                f"without an address one is made for this run."
            ) from None


def _knock(address: str | None) -> None:
    """Fail at once where nobody listens: Ray itself tries for a minute.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), KNOCK_S).close()


def _quiet() -> None:
    """Keep what Ray's own processes say off stdout, where tables are; there is no setting for it."""
    from ray._private import worker  # noqa: PLC0415

    if hasattr(worker, "print_to_stdstream"):
        setattr(worker, "print_to_stdstream", lambda *given, **more: None)  # noqa: B010 - no name of Ray's API


def nodes() -> list[dict[str, Any]]:
    """What Ray tells of the nodes of the cluster."""
    found: list[dict[str, Any]] = cast(Any, ray).nodes()  # a function without types
    return found


@contextmanager
def _own_signals() -> Iterator[None]:
    """What is set for signals stays: Ray sets its own for SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread, where nothing was changed
            signal.signal(signal.SIGTERM, before)
