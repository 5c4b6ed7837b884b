"""How data sets and backbones are called and ordered in print; an unregistered name stands for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.errors import ConfigError
from bench.records import RunFolder, display_title
from bench.tables.levels import Sections, sections_of

if TYPE_CHECKING:
    from bench.data.card.card import Anchor, DatasetCard
    from bench.registry import MethodEntry

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
    levels: Mapping[str, str] = field(default_factory=dict)
    """What methods select, by registered name: a key of ``HEADINGS``."""
    sections: Sections = "auto"
    """Whether tables have headings by level."""
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
            {name: _level(methods.entry(name)) for name in methods.names()},
            anchors={name: anchor for name in known.names() if (anchor := _anchor(resolve_dataset, name)) is not None},
            from_cards=True,
        )

    @classmethod
    def of_run(cls, folder: Path, sections: Sections | None = None) -> Self:
        """Those of what is installed, with headings as asked for, else as the folder's run.toml says.

        Raises:
            ConfigError: it cannot be read.
        """
        return replace(cls.registered(), sections=sections or sections_of(RunFolder(folder).config_file))

    def dataset(self, name: str, own: str | None = None) -> str:
        """The title of ``name``, of which ``own`` is that in a user's own card."""
        return _title(self.datasets, name, own if self.from_cards else None)

    def backbone(self, name: str) -> str:
        return _title(self.backbones, name)

    def is_control(self, cell: Mapping[str, Any]) -> bool:
        """Whether the method of a record only shows what chance or a trivial rule reaches."""
        return (cell["family"] or self.families.get(cell["method"])) == "control"

    def level(self, cell: Mapping[str, Any]) -> str:
        """What the method of a record selects there: whole fields where it is held to them."""
        if cell["is_baseline"]:
            return "none"
        return "field" if cell["budget"] == "field" else self.levels.get(cell["method"], "")

    def dataset_rank(self, name: str) -> tuple[int, str]:
        return _rank(self.datasets, name)

    def backbone_rank(self, name: str) -> tuple[int, str]:
        return _rank(self.backbones, name)


def _level(entry: MethodEntry) -> str:
    return "row" if entry.per_sample else entry.granularity


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
