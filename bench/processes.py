"""Child processes that end without a word: at the terminal's signals their parent ends them, and without it they go."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext

_TERMINALS = (signal.SIGINT, signal.SIGHUP)
"""Signals that a terminal sends to a whole family at once."""


@contextmanager
def left_to_parent() -> Iterator[None]:
    """Processes started in here never see the signals of the terminal; for this process they wait until it is over."""
    late: list[int] = []
    handlers = {}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINALS)  # inherited by what is started
    if threading.current_thread() is threading.main_thread():  # another thread may take a signal all the same
        for number in _TERMINALS:
            if callable(known := signal.getsignal(number)):
                handlers[number] = known
                signal.signal(number, lambda which, frame: late.append(which))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # what has waited arrives here
        for number, known in handlers.items():
            signal.signal(number, known)
        for caught in dict.fromkeys(late):
            signal.raise_signal(caught)


def starting(module: str) -> ForkServerContext | SpawnContext:
    """How children start: from a server that has ``module`` loaded, and no rows, threads or GPU, or each by itself.

    The first takes a tenth of a second where the second takes three of computing. Elsewhere than under Linux libraries
    are known to break in a process that was forked.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


@contextmanager
def importing_alike() -> Iterator[None]:
    """Interpreters started in here import from where this one does, whatever lies in the current folder.

    The server that forks children loads its libraries before anybody tells it the path of its parent: it would take
    the suite that is installed for the one that is run.
    """
    path = os.pathsep.join(os.path.abspath(place) for place in sys.path)  # noqa: PTH100 - "" is the current folder
    given = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end_with_parent() -> None:
    """Have this process, a child of ``multiprocessing``, end as soon as its parent does, killed or not."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()
