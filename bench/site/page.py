"""The first page of a site: one line a row, filters, and downloads seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean
from urllib.parse import quote

from bench.report.formats.html import POLICY
from bench.report.formats.letters import visible
from bench.site.complete import Line
from bench.tables.cells import sample_sd
from bench.tables.metrics import AUC, LOGLOSS, Metric

__all__ = ["index"]

TITLE = "Feature selection for CTR models: results"
_ID_CHARS = 16
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
:root { color-scheme: light dark; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8884; vertical-align: top; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
label { margin-right: 1rem; white-space: nowrap; }
"""
_SCRIPT = """
const filters = [...document.querySelectorAll('[data-filter]')];
const rows = [...document.querySelectorAll('tbody tr')];
function apply() {
  let shown = 0;
  for (const row of rows) {
    const fits = filters.every(one => {
      const has = row.dataset[one.dataset.filter];
      const asked = one.value.toLowerCase();
      return one.tagName === 'SELECT' ? !asked || has.toLowerCase() === asked : has.toLowerCase().includes(asked);
    });
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById('count').textContent = shown + ' of ' + rows.length + ' rows';
}
filters.forEach(one => one.addEventListener('input', apply));
apply();
"""


def index(shown: Sequence[Line], left: Sequence[Line], origins: Mapping[str, str], predictions: set[str]) -> str:
    """The page.

    Args:
        shown: complete rows.
        left: rows that are not shown.
        origins: name of the bundle that a cell is of, by hash.
        predictions: names of the cells whose predictions are there.
    """
    body = "".join(_row(line, origins, predictions) for line in shown)
    bundles = " ".join(f'<a href="bundles/{quote(name)}">{_text(name)}</a>' for name in sorted(set(origins.values())))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<link rel="icon" href="data:,">\n'
        f"<title>{TITLE}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{TITLE}</h1>\n"
        "<p>Means over seeds ± their sample standard deviations, on test rows. Here are rows with every seed of their "
        'column. <a href="report.html">Report</a> with all tables, intervals and figures. '
        f'Bundles: {bundles}.</p>\n<p>{_filters(shown)}<span id="count"></span></p>\n'
        "<table>\n<thead><tr><th>Data set</th><th>Backbone</th><th>τ</th><th>Method</th><th>AUC ↑</th>"
        "<th>Logloss ↓</th><th>Bundle</th><th>Seeds: record, predictions</th></tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n"
        f"{_left(left)}<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _filters(shown: Sequence[Line]) -> str:
    parts = []
    for name, title in (("dataset", "Data set"), ("backbone", "Backbone"), ("tau", "τ")):
        values = dict.fromkeys(_tau(line) if name == "tau" else str(getattr(line, name)) for line in shown)
        options = "".join(f'<option value="{_text(value)}">{_text(value)}</option>' for value in values)
        parts.append(
            f'<label>{title} <select data-filter="{name}"><option value="">all</option>{options}</select></label>'
        )
    return "".join([*parts, '<label>Method <input data-filter="method"></label>'])


def _row(line: Line, origins: Mapping[str, str], predictions: set[str]) -> str:
    seeds = ", ".join(_seed(cell["seed"], cell["config_hash"][:_ID_CHARS], predictions) for cell in line.cells)
    bundles = ", ".join(_text(name) for name in dict.fromkeys(origins[cell["config_hash"]] for cell in line.cells))
    data = {"dataset": line.dataset, "backbone": line.backbone, "tau": _tau(line), "method": line.method}
    attributes = " ".join(f'data-{name}="{_text(value)}"' for name, value in data.items())
    texts = "".join(f"<td>{_text(value)}</td>" for value in data.values())
    numbers = "".join(f'<td class="n">{_number(line, metric)}</td>' for metric in (AUC, LOGLOSS))
    return f"<tr {attributes}>{texts}{numbers}<td>{bundles}</td><td>{seeds}</td></tr>\n"


def _seed(seed: int, name: str, predictions: set[str]) -> str:
    kept = f' (<a href="predictions/{name}.npy">predictions</a>)' if name in predictions else ""
    return f'<a href="cells/{name}.json">{seed}</a>{kept}'


def _number(line: Line, metric: Metric) -> str:
    numbers = [number for cell in line.cells if (number := metric.number(cell)) is not None]
    if len(numbers) < len(line.cells):
        return "—"
    sd = sample_sd(numbers)
    return metric.text(fmean(numbers)) + ("" if sd is None else f" ± {metric.text(sd)}")


def _left(left: Sequence[Line]) -> str:
    if not left:
        return ""
    items = "".join(
        f"<li>{_text(f'{one.method} on {one.dataset} with {one.backbone}, τ {_tau(one)}: {one.why}')}</li>\n"
        for one in left
    )
    return f"<details><summary>Left out: {len(left)} rows</summary>\n<ul>\n{items}</ul>\n</details>\n"


def _tau(line: Line) -> str:
    return "—" if line.tau is None else f"{line.tau:g}"


def _text(text: str) -> str:
    return escape(visible(text))
