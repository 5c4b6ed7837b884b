"""The measurements as text."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from bench.profiles import Optimizer
from bench.speed.limits import Limits
from bench.speed.rate import Rate
from bench.speed.run import Report

_MIB = 2**20
_ADAM: dict[Optimizer, str] = {"adam": "Adam over the whole table", "lazy-adam": "lazy Adam over a batch's rows"}
"""What is meant by the optimiser's part of the bound."""


def text(report: Report) -> str:
    """Table, limits and what the columns mean."""
    peer = report.against
    headers = ["stage", "of", "rows/s", "from - to", "peak MiB", "of bound"]
    if peer is not None:
        headers += [f"{peer} rows/s", "ratio", "its step alone", "ratio", "its peak MiB"]
    lines = [[*_own(rate), *(_of_peer(rate) if peer is not None else [])] for rate in report.rates]
    parts = [
        tabulate(lines, headers, disable_numparse=True, colalign=("left", "left", *["right"] * (len(headers) - 2)))
    ]
    parts += [f"{rate.stage}, {rate.what}: {rate.note}" for rate in report.rates if rate.note]
    if report.limits is not None:
        parts.append(limits_text(report.limits, report.config.optimizer))
    config = report.config
    parts.append(
        f"F {config.fields}, D {config.dim}, V {config.vocabulary:,}, batch {config.batch:,}, "
        f"MLP {'-'.join(map(str, config.mlp))}, {config.rows:,} rows, medians of {config.repeats}; {config.device}.\n"
        f"of bound: share of the rate at which matrix products, gather, scatter and {_ADAM[config.optimizer]} alone "
        f"would run.\n"
        f"peak: the whole process, libraries and data included."
    )
    return "\n".join([parts[0], "", *parts[1:]])


def limits_text(limits: Limits, optimizer: Optimizer) -> str:
    """One line; ``optimizer`` is whose bandwidth was measured."""
    name = "Adam" if optimizer == "adam" else "lazy Adam"
    return (
        f"limits: matrix products {limits.gemm_flops_per_s / 1e9:,.0f} GFLOP/s, "
        f"copy {limits.copy_bytes_per_s / 1e9:,.3g} GB/s, {name} {limits.adam_bytes_per_s / 1e9:,.3g} GB/s, "
        f"gather {limits.gather_rows_per_s / 1e6:,.0f} M rows/s, "
        f"scatter {limits.scatter_rows_per_s / 1e6:,.0f} M rows/s"
    )


def line(rate: Rate) -> str:
    """One measurement, as it comes in."""
    return "  ".join(part for part in [*_own(rate), *_of_peer(rate), rate.note] if part)


def _own(rate: Rate) -> list[str]:
    spread = "" if rate.low is None or rate.high is None else f"{rate.low:,.0f} - {rate.high:,.0f}"
    share = "" if rate.share is None else f"{rate.share:.0%}"
    return [rate.stage, rate.what, _number(rate.rows_per_s), spread, _mebibytes(rate.peak_bytes), share]


def _of_peer(rate: Rate) -> Iterable[str]:
    for theirs in (rate.peer_rows_per_s, rate.peer_step_rows_per_s):
        ratio = rate.ratio(theirs)
        yield _number(theirs)
        yield "" if ratio is None else f"{ratio:.2f}×"
    yield _mebibytes(rate.peer_peak_bytes)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / _MIB:,.0f}"
