"""From a line of the table of fields back to what made it: the cells of every method, and what the rows say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from bench.data.store.fields import FieldFacts, read_fields
from bench.errors import ConfigError, suggest
from bench.records import RunFolder, display_title, to_frame
from bench.report.formats.letters import visible
from bench.tables.cells import records_of
from bench.tables.fields import FieldsOf, Voice, fields_of, notable
from bench.tables.titles import Titles

__all__ = ["explain_field"]


def explain_field(run: RunFolder, dataset: str, field: str) -> str:
    """The line of ``field`` in the table of fields of ``dataset``, taken apart by method and cell.

    Raises:
        ConfigError: the folder is no run, or it has no such line; the message says what there is.
        DataError: a record or a file of facts cannot be read.
    """
    titles = Titles.registered()
    found = fields_of(records_of(to_frame(run.require().records())), titles, read_fields(run.path))
    mine = [one for one in found if one.key.dataset == dataset]
    if not mine:
        raise ConfigError(f"dataset={dataset!r} is not in this table.{_known(dataset, (o.key.dataset for o in found))}")
    mine = [one for one in mine if field in one.names]
    if not mine:
        names = (name for one in found if one.key.dataset == dataset for name in one.names)
        raise ConfigError(f"field={field!r} is not in this table.{_known(field, names)}")
    return visible("\n\n".join(_explained(one, one.names.index(field), run, titles) for one in mine))


def _known(asked: str, names: Iterable[str]) -> str:
    return suggest(asked, list(dict.fromkeys(names)))


def _explained(one: FieldsOf, field: int, run: RunFolder, titles: Titles) -> str:
    ranks, kept = one.ranks(field), one.kept(field)
    said = []
    if ranks:
        spread = f"{min(ranks):g} to {max(ranks):g}, {len(ranks)} cells"
        said.append(f"mean rank {fmean(ranks):.1f} of {len(one.names)} ({spread})")
    if kept:
        said.append(f"kept by {sum(kept)} of {len(kept)} cells that drop a field ({100 * fmean(kept):.0f} %)")
    lines = [f"Fields of {one.title}", f"{one.names[field]}: {'; '.join(said) or 'no method ranks or drops it'}"]
    facts = one.facts_of(field)
    if one.facts is not None and facts is not None:
        lines.append(
            f"  in {one.facts.measured.rows:,} of {one.facts.measured.train_rows:,} training rows: {_of(facts)}"
        )
    by_method: dict[tuple[str, str, str], list[Voice]] = defaultdict(list)
    for voice in one.voices:
        cell = voice.cell
        tau = "" if cell["tau"] is None else f", τ {cell['tau']:g}"
        title = f"{display_title(cell['label'], cell['method_title'])}, {titles.backbone(cell['backbone'])}{tau}"
        by_method[cell["label"], cell["backbone"], title].append(voice)
    for (_, _, title), voices in by_method.items():
        lines += ["", f"{title}: {_summary(voices, field)}"]
        lines += [
            f"  seed {v.cell['seed']}: {_voice(v, field)} in {run.cell_file(v.cell['config_hash'])}" for v in voices
        ]
    lines += [""] if one.silent else []
    lines += [f"not counted ({why}): {', '.join(methods)}" for why, methods in one.silent.items()]
    return "\n".join(lines)


def _of(facts: FieldFacts) -> str:
    auc = "not measured" if facts.auc is None else f"{facts.auc:.4f}"
    parts = [
        f"{facts.kind}, {facts.values:,} values, {facts.missing:.1%} missing, {facts.top:.1%} the most frequent one",
        f"AUC alone {auc}",
        notable(facts),
    ]
    return "; ".join(filter(None, parts))


def _summary(voices: Sequence[Voice], field: int) -> str:
    ranks = [float(voice.ranks[field]) for voice in voices if voice.ranks is not None]
    kept = [field in voice.kept for voice in voices if voice.kept is not None]
    mean = f"mean rank {fmean(ranks):.1f}" if ranks else ""
    return ", ".join(filter(None, (mean, f"kept by {sum(kept)} of {len(kept)}" if kept else "")))


def _voice(voice: Voice, field: int) -> str:
    parts = []
    if voice.ranks is not None:
        parts.append(f"rank {voice.ranks[field]:g} (score {voice.cell['field_scores'][field]:.6g})")
    if voice.kept is not None:
        parts.append("kept" if field in voice.kept else "dropped")
    return ", ".join(parts)
