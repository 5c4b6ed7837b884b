"""``python -m bench``."""

from __future__ import annotations

from bench.cli import entry

if __name__ == "__main__":
    entry()
