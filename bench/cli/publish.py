"""``python -m bench publish BUNDLES… --to site/``: bundles as a static site."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

PROG = "python -m bench publish"


@dataclass(frozen=True)
class PublishConfig:
    """Make a static site of bundles: a page with filters, the report of all of them, and downloads seed by seed.

    Every bundle is checked first. Only rows with every seed of their column are shown; the others are named.
    """

    bundles: tyro.conf.Positional[tuple[Path, ...]]
    """Files that `python -m bench submit` has written."""
    to: Path = Path("site")
    """Folder of the site; an earlier one there is replaced."""


def command(argv: Sequence[str]) -> int:
    """Write the site.

    Raises:
        ConfigError: there is no bundle, or what they hold does not go together.
        DataError: a bundle is damaged or was changed.
        StorageError: the site cannot be written.
    """
    config = tyro.cli(PublishConfig, args=list(argv), prog=PROG)
    from bench.site.publish import publish  # noqa: PLC0415 - --help needs neither NumPy nor pandas

    found = publish(config.bundles, config.to)
    sys.stdout.write(f"{config.to}/index.html: {len(found.shown)} rows\n")
    for line in found.left:
        sys.stderr.write(f"left out: {line.method} on {line.dataset} with {line.backbone}: {line.why}\n")
    return 0
