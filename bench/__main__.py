"""``python -m bench``."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command line answers signals itself, without a traceback

from bench.cli import entry

if __name__ == "__main__":
    entry()
