"""Signals that ask a command to end, as exceptions, so that children are ended and temporary files removed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["Ended", "Signals", "caught", "end_quietly"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_PATIENCE = 2
"""Further signals that are answered with a word; the one after them ends the process where it stands."""
_SOON_S = 0.01


class Ended(BaseException):
    """SIGTERM or SIGHUP, as ``KeyboardInterrupt`` is SIGINT."""


class Signals:
    """What has come so far."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.number: int | None = None
        """The first signal."""
        self.closing = False
        """Whether the command is over but for its last line: no signal may interrupt that."""
        self._count = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise at the first signal; the next ones must not interrupt the clearing up."""
        self._count += 1
        if self.number is None and not self.closing:
            self.number = number
            raise KeyboardInterrupt if number == signal.SIGINT else Ended
        if self._count > 1 + _PATIENCE:
            os._exit(128 + number)

    def lost(self, number: int) -> None:
        """Deliver the first signal again: it was raised where Python cannot pass an exception on, as in ``__del__``."""
        self.number, self._count = None, 0
        main = threading.main_thread().ident
        again = threading.Timer(_SOON_S, signal.pthread_kill, (main, number))  # from there it cannot be raised either
        again.daemon = True
        again.start()


@contextmanager
def caught() -> Iterator[Signals]:
    """Raise in here what the user or the system sends; what was set before is set again afterwards.

    A signal that is ignored, as under ``nohup``, stays so. Off the main thread nothing is changed.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    hook = sys.unraisablehook

    def unraisable(lost: UnraisableHookArgs) -> None:
        if signals.number is not None and issubclass(lost.exc_type, KeyboardInterrupt | Ended):
            signals.lost(signals.number)
        else:
            hook(lost)

    sys.unraisablehook = unraisable
    for number in ours:
        signal.signal(number, signals.handle)
    try:
        yield signals
    finally:
        for number in ours:
            signal.signal(number, before[number])
        sys.unraisablehook = hook


def end_quietly() -> None:
    """Outside of ``caught``, at start and shutdown, let Ctrl-C end the process without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
