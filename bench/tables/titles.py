"""How data sets and backbones are called and ordered in print; an unregistered name stands for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bench.errors import ConfigError
from bench.records import display_title

if TYPE_CHECKING:
    from bench.data.card.card import Anchor, DatasetCard

__all__ = ["Titles"]


@dataclass(frozen=True)
class Titles:
    """Titles by registered name, in the order of tables."""

    datasets: Mapping[str, str] = field(default_factory=dict)
    backbones: Mapping[str, str] = field(default_factory=dict)
    method_notes: Mapping[str, str] = field(default_factory=dict)
    """What a table must say of a method, by registered name."""
    families: Mapping[str, str] = field(default_factory=dict)
    """Kinds of methods, by registered name, for records that do not hold them."""
    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    """What public results reach, by registered data set."""
    from_cards: bool = False
    """Whether the title in a user's own card stands for a data set that is not registered."""

    @classmethod
    def registered(cls) -> Self:
        """Titles and order of what is installed."""
        from bench import plugins  # noqa: PLC0415 - tables of plug-ins need not be read for a plain Titles()
        from bench.datasets import datasets, resolve_dataset  # noqa: PLC0415

        known, nets, methods = datasets(), plugins.backbones(), plugins.methods()
        return cls(
            {name: known.entry(name).title for name in known.names()},
            {name: nets.entry(name).title for name in nets.names()},
            {name: note for name in methods.names() if (note := methods.entry(name).note)},
            {name: methods.entry(name).family for name in methods.names()},
            {name: anchor for name in known.names() if (anchor := _anchor(resolve_dataset, name)) is not None},
            from_cards=True,
        )

    def dataset(self, name: str, own: str | None = None) -> str:
        """The title of ``name``, of which ``own`` is that in a user's own card."""
        return _title(self.datasets, name, own if self.from_cards else None)

    def backbone(self, name: str) -> str:
        return _title(self.backbones, name)

    def is_control(self, cell: Mapping[str, Any]) -> bool:
        """Whether the method of a record only shows what chance or a trivial rule reaches."""
        return (cell["family"] or self.families.get(cell["method"])) == "control"

    def dataset_rank(self, name: str) -> tuple[int, str]:
        return _rank(self.datasets, name)

    def backbone_rank(self, name: str) -> tuple[int, str]:
        return _rank(self.backbones, name)


def _anchor(resolve: Callable[[str], DatasetCard], name: str) -> Anchor | None:
    try:
        return resolve(name).anchor
    except ConfigError:  # a plug-in's card that cannot be read says nothing, and breaks no report
        return None


def _title(titles: Mapping[str, str], name: str, own: str | None = None) -> str:
    return display_title(name, titles.get(name.partition("[")[0], own))


def _rank(titles: Mapping[str, str], name: str) -> tuple[int, str]:
    """Registered names first, in their order, then the others by name."""
    base = name.partition("[")[0]
    return (list(titles).index(base) if base in titles else len(titles), name)
