"""Who reads a raw table, as ``prepare --workers`` and ``run --prepare-workers`` say it.

This process, several, or tasks of a Ray cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.data.card.card import DatasetCard

_MOST = 256
_RAY = "ray"
_FLAG = "--workers"


@dataclass(frozen=True)
class Workers:
    """So many, of one kind."""

    count: int = 1
    """Processes, 1: the threads of this one; of a cluster tasks in flight, 0: as many as it has cores."""
    on_ray: bool = False
    address: str | None = None
    """Of the cluster; None: that of RAY_ADDRESS, or one that is made here."""
    flag: str = _FLAG
    """That they were given by, for messages."""

    @classmethod
    def read(cls, text: str, address: str | None = None, flag: str = _FLAG) -> Workers:
        """``N``, ``ray`` or ``ray:N``, as it was given by ``flag``.

        Raises:
            ConfigError: it is nothing of that, or Ray is not installed.
        """
        name, colon, number = text.partition(":") if text.startswith(_RAY) else ("", ":", text)
        known = number.isascii() and number.isdecimal() and 1 <= int(number) <= _MOST
        if name not in ("", _RAY) or (colon and not known):
            raise ConfigError(
                f"{flag} {text}: write how many processes read the raw data, 1 to {_MOST}, or ray, or ray:N for "
                f"at most N tasks of a Ray cluster at a time."
            )
        if address is not None and not name:
            raise ConfigError(f"--address {address} says nothing to {flag} {text}: it is for ray.")
        if name and find_spec(_RAY) is None:
            raise ConfigError(f"{flag} {text} needs ray, which is not installed: pip install 'ctr-field-bench[ray]'")
        return cls(int(number) if colon else 0, bool(name), address, flag)

    @property
    def shown(self) -> str:
        """As it was given."""
        return f"{_RAY}:{self.count}".removesuffix(":0") if self.on_ray else str(self.count)

    @property
    def are_here(self) -> bool:
        """Whether it is this process alone."""
        return self.count == 1 and not self.on_ray

    def check(self, card: DatasetCard) -> None:
        """Refuse workers where there is no raw table to share out.

        Raises:
            ConfigError: there is none.
        """
        if card.is_derived and not self.are_here:
            how = "made from another store" if card.junk else "generated"
            raise ConfigError(
                f"{self.flag} {self.shown}: data set {card.spec!r} is {how} by the threads of one process; leave "
                f"{self.flag} out."
            )


HERE = Workers()
"""The threads of this process."""
