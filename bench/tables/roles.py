"""What the fields of generated data were made to be; records do not hold it, the shipped data sets declare it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from bench.errors import UserError
from bench.tables.cells import Record

__all__ = ["true_roles"]


def true_roles(cell: Record) -> Mapping[str, str]:
    """Role by field, as ``bench.stats.recovery`` has it; empty for data that are not generated, or not as now.

    Args:
        cell: any successful one on the data set.
    """
    if not cell["recovery"]:
        return {}
    revision, roles = _declared(cell["dataset"])
    same = revision == cell["dataset_revision"] and set(cell["field_names"]) <= set(roles)
    return roles if same else {}


@cache
def _declared(dataset: str) -> tuple[str, Mapping[str, str]]:
    """Revision and roles of a registered data set; nothing of a user's own, whose card may have changed since."""
    from bench.data.raw.generated import generated_data  # noqa: PLC0415 - real data need none of it
    from bench.datasets import datasets, resolve_dataset  # noqa: PLC0415

    if dataset.partition("[")[0] not in datasets().names():
        return "", {}
    try:
        card = resolve_dataset(dataset)
        return (str(card.revision), generated_data(card).roles) if card.generator else ("", {})
    except UserError:  # of another version: a parameter that is no more
        return "", {}
