"""What ``report`` writes into a run folder: tables in three formats, and figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.files import write_atomically
from bench.records import RunFolder, load_frame
from bench.report import csv, html, latex, markdown
from bench.report.adaptability import adaptability_tables
from bench.report.beside import paper_tables
from bench.report.cells import GroupKey, blocks, group_key, records_of
from bench.report.datasets import dataset_tables
from bench.report.model import Table
from bench.report.naming import distinct_titles
from bench.report.significance import significance_tables
from bench.report.stability import agreement_tables, stability_tables
from bench.report.sweep import sweep_tables
from bench.report.tables import efficiency_tables, overall_tables, recovery_tables
from bench.report.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["build_report"]


def build_report(run: Path | RunFolder, titles: Titles | None = None) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html`` of a run; the same records give the same bytes.

    Returns:
        The files written: tables, figures, and last the page that shows both.

    Raises:
        ConfigError: ``run`` is no run folder.
        DataError: a file in it is no readable record.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    titles = Titles.registered() if titles is None else titles
    frame = load_frame(folder)
    placed = blocks(frame, titles)
    kinds = [
        ("overall", "Results", overall_tables(placed, titles)),
        ("efficiency", "Cost and size", efficiency_tables(placed, titles)),
        ("recovery", "Recovery", recovery_tables(placed, titles)),
        ("k-sweep", "AUC over kept fields", sweep_tables(placed, titles)),
        ("stability", "Stability", stability_tables(placed, titles)),
        ("agreement", "Agreement of rankings", agreement_tables(placed, titles)),
        ("significance", "Significance", significance_tables(placed, titles)),
        ("table3", "Adaptability", adaptability_tables(placed, titles)),
        ("table1", "Data sets", dataset_tables(frame, titles)),
        ("paper", "Beside the paper", paper_tables(placed, titles)),
    ]
    kinds = [kind for kind in kinds if kind[2]]
    files = {name: text for kind in kinds for name, text in _table_files(*kind).items()}
    written = [_write(folder.tables / name, text.encode()) for name, text in files.items()]
    figures: dict[str, bytes] = {}
    for name, title, data in _figure_files(frame, titles):
        written.append(_write(folder.figures / name, data))
        if name.endswith(".svg"):
            figures[title] = data
    sections = [html.Section(heading, tables) for _, heading, tables in kinds]
    text = html.page(records_of(frame), sections, figures)
    return [*written, _write(folder.path / "report.html", text.encode())]


def _table_files(kind: str, heading: str, tables: Sequence[Table]) -> dict[str, str]:
    """Contents by file name: all tables of a kind in three formats, and each alone as a tabular."""
    tabulars = dict(zip(_unique(table.name for table in tables), map(latex.tabular, tables), strict=True))
    return {
        f"{kind}.md": markdown.document(tables, heading),
        f"{kind}.csv": csv.document(tables),
        f"{kind}.tex": latex.document(tables),
        **{f"tabular/{kind}-{name}.tex": text for name, text in tabulars.items()},
    }


def _figure_files(frame: pd.DataFrame, titles: Titles) -> Iterator[tuple[str, str, bytes]]:
    """(file name, title, contents) of every figure in every format."""
    from plots import critical_difference, importance, style  # noqa: PLC0415 - Matplotlib is slow to import

    groups = list(_by_dataset(frame, titles))
    names = _unique(f"{key}-{cells['backbone'].iloc[0]}" for key, _, cells in groups)
    for name, (_, title, cells) in zip(names, groups, strict=True):
        figure = importance.draw(cells, f"Importance of fields: {title}")
        if figure is not None:
            for suffix, data in style.render(figure).items():
                yield f"importance-{name}{suffix}", f"Importance of fields: {title}", data
    for tau in sorted(set(frame["tau"].dropna())) or [None]:
        where = "" if tau is None else f" at prune ratio τ = {tau:g}"
        figure = critical_difference.draw(frame, tau, f"Ranks of the methods{where}")
        if figure is not None:
            name = f"critical-difference{'' if tau is None else f'-tau{tau:g}'}"
            for suffix, data in style.render(figure).items():
                yield f"{name}{suffix}", f"Ranks of the methods{where}", data


def _by_dataset(frame: pd.DataFrame, titles: Titles) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(key, title, cells) of what may share a figure: one backbone, one schema, one split, one setting."""
    cells = records_of(frame)
    for backbone in sorted(set(frame["backbone"]), key=titles.backbone_rank):
        places: dict[GroupKey, list[int]] = {}
        for i, cell in enumerate(cells):
            if cell["backbone"] == backbone:
                places.setdefault(group_key(cell), []).append(i)
        groups = sorted(places, key=lambda key: (titles.dataset_rank(key.dataset), str(key)))
        samples = [cells[places[group][0]] for group in groups]
        keys, names = distinct_titles(samples, Titles()), distinct_titles(samples, titles)
        for key, name, group in zip(keys, names, groups, strict=True):
            yield key, f"{name}, {titles.backbone(backbone)}", frame.iloc[places[group]]


def _unique(names: Iterable[str]) -> list[str]:
    """Names fit for files, numbered where two become equal."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._=]+", "-", name).strip("-.") or "unnamed"
        count = sum(other == plain or other.startswith(f"{plain}~") for other in found)
        found.append(f"{plain}~{count + 1}" if count else plain)
    return found


def _write(path: Path, data: bytes) -> Path:
    with write_atomically(path, "wb") as file:
        file.write(data)
    return path
