"""The records of a page's cells: place by place, what all have in common once, then what each has of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from bench.report.formats.markup import ID_CHARS, anchor, text, title
from bench.tables.cells import Record

__all__ = ["cells_part"]

_HEAVY = ("traceback", "field_scores", "field_names", "phases", "versions", "host")
"""Parts of a record that are shown elsewhere or only in its file."""


def cells_part(cells: Sequence[Record], behind: Mapping[str, Sequence[str]]) -> str:
    """All cells.

    Args:
        cells: their records.
        behind: of a cell, all cells behind the numbers that lead to it, by hash.
    """
    places: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for cell in cells:
        places.setdefault((cell["dataset"], cell["backbone"]), {})[cell["config_hash"]] = _shown(cell)
    common = {place: _common([*of.values()]) for place, of in places.items()}
    anchors = {place: f"common-{i}" for i, place in enumerate(place for place, facts in common.items() if facts)}
    parts = []
    for place, name in anchors.items():
        heading = f"{', '.join(place)}: what its {len(places[place])} cells have in common"
        parts.append(f'<details id="{name}"><summary>{text(heading)}</summary>{_listed(common[place])}</details>\n')
    for cell in cells:
        place = cell["dataset"], cell["backbone"]
        shown = places[place][cell["config_hash"]].items()
        own = {name: value for name, value in shown if name not in common[place]}
        parts.append(_cell(cell, own, anchors.get(place, ""), behind.get(cell["config_hash"], ())))
    return "".join(parts)


def _shown(cell: Record) -> dict[str, str]:
    """What the page says of a cell's record."""
    return {name: _plain(value) for name, value in cell.items() if value is not None and name not in _HEAVY}


def _common(cells: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of several cells say."""
    if len(cells) < 2:
        return {}
    return {name: value for name, value in cells[0].items() if all(cell.get(name) == value for cell in cells)}


def _listed(facts: Mapping[str, str]) -> str:
    lines = "\n".join(f"{name}: {value}" for name, value in facts.items())
    return f"<pre>{text(lines)}</pre>"


def _cell(cell: Record, own: Mapping[str, str], common: str, behind: Sequence[str]) -> str:
    file = f"cells/{cell['config_hash'][:ID_CHARS]}.json"
    quality = f"AUC {cell['auc']:.4f}" if cell["auc"] is not None else cell["status"]
    more = f', and <a href="#{common}">what it has in common with others</a>' if common else ""
    ids = " ".join(one[:ID_CHARS] for one in behind)
    group = f' data-cells="{ids}"' if len(behind) > 1 else ""
    return (
        f'<details id="{anchor(cell["config_hash"])}"{group}><summary>{text(title(cell))}: {text(quality)}</summary>'
        f'<p>Whole record: <a href="{file}">{file}</a>{more}</p>{_listed(own)}</details>\n'
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
