"""What grows faster than the number of fields, said before a run begins: on a wide table it can take days."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench import plugins
from bench.data.store.manifest import read_manifest, schema_of
from bench.data.store.store import store_folder
from bench.engine.footprint import footprint
from bench.profiles import Profile
from bench.run.forecast import pending
from bench.run.job import resolve_backbone
from bench.run.session import Session

MANY_FIELDS = 100
"""Fields below which no shipped form of a backbone is made slow by their pairs."""
STEEP = 1.5
"""Power of the number of fields from which on growth is called steep; a matrix of all pairs has 2."""
FLAT = 1.2
"""Power up to which a backbone is named as an alternative."""
TIMES = 5.0
"""Times the operations of the alternative from which on it is said."""
_BATCH = 8


@dataclass(frozen=True)
class Growth:
    """How the operations of a backbone grow with the fields."""

    flops_per_row: float
    """Of a training, with all fields."""
    power: float
    """Twice the fields make 2^power times the operations, seen from half of the fields to all."""


def growth(backbone: str, n_fields: int, profile: Profile) -> Growth | None:
    """How the operations of a backbone grow up to ``n_fields``; None where it cannot be reckoned."""
    choice = resolve_backbone(backbone, profile)
    if choice.error is not None:
        return None
    try:
        half, whole = (_flops(choice, n, profile) for n in (n_fields // 2, n_fields))
    except Exception:  # a plug-in may fail in any way, and need not run without numbers
        return None
    power = math.log(whole / half) / math.log(n_fields / (n_fields // 2)) if half and whole else 1.0
    return Growth(whole, power)


def _flops(choice: Any, n_fields: int, profile: Profile) -> float:
    return footprint(choice.cls, n_fields, profile.dim, choice.params, _BATCH).flops_per_row


def warnings(session: Session) -> Iterator[str]:
    """A line for every data set and backbone that the run would compute, where pairs of fields make it slow."""
    wide = {label: n for label in session.plan.cards if (n := _fields(session, label)) >= MANY_FIELDS}
    if not wide:
        return
    left = {(cell.dataset, cell.backbone) for cells in pending(session).values() for cell in cells}
    for label, n_fields in wide.items():
        for backbone in session.plan.backbones:
            if (label, backbone) in left:
                text = _warning(backbone, label, n_fields, session.profile(label))
                yield from [text] if text else []


def _fields(session: Session, label: str) -> int:
    """Fields of a prepared data set, without looking at its rows."""
    folder = store_folder(session.plan.config.data_dir, session.plan.cards[label])
    return schema_of(read_manifest(folder, "")).n_fields


def _warning(backbone: str, label: str, n_fields: int, profile: Profile) -> str | None:
    found = growth(backbone, n_fields, profile)
    if found is None or found.power < STEEP:
        return None
    others = {name: growth(name, n_fields, profile) for name in plugins.backbones().names()}
    flat = {name: other.flops_per_row for name, other in others.items() if other is not None and other.power <= FLAT}
    instead = sorted(flat, key=lambda name: -flat[name])[:3]  # those that do most with each row
    if instead and found.flops_per_row < TIMES * flat[instead[0]]:
        return None
    than = f", {found.flops_per_row / flat[instead[0]]:,.0f} times those of {instead[0]}" if instead else ""
    names = ", ".join(instead[:-1]) + " or " * (len(instead) > 1) + instead[-1] if instead else ""
    mend = f"take {names}, whose operations grow with F, or fewer fields" if instead else "take fewer fields"
    return (
        f"{label}, {backbone}: operations grow as F^{found.power:.1f} with the number of fields F: at F = {n_fields:,} "
        f"they are {found.flops_per_row / 1e6:,.0f} million a training row{than}; {mend}."
    )
