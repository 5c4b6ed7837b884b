"""Rows shaped like Criteo's, as many as wanted, with a known truth: for trials of speed and memory at scale.

Fields, their order, their numbers of values over the full 45.8 million rows and their missing rates are those of the
Display Advertising Challenge; 13 integers with heavy tails (one of them below zero now and then) and 26 columns of
hexadecimal codes whose frequencies follow Zipf's law. Nothing else is Criteo's: no row and no value was copied.

How many values occur grows with the rows as it does in the original, because the domains stay as they are: 2 million
rows show about 3 million different values, all rows 34 million. A shorter data set is the beginning of a longer one.

The logit is an intercept plus the effects of the fields whose role is ``main`` or ``interaction`` (the roles of
``bench.stats.recovery``, as in the planted data), and the label is drawn from that probability, which is kept.

A draw is a hash of (seed, field, row number): 16 bits choose one of 65,536 equally likely slots, a range of values of
the field; 32 bits choose the value in that range; 15 bits decide whether it is missing. So a row does not depend on
how many are made at a time, and ids are made of integers alone. So they are the same on every device, and logits are
too, which take products and sums of float64; what follows from a logit (probability, label) is computed with numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from bench.data.raw.generated import NO_VALUE, Content, GeneratedBlock, GeneratedData
from bench.data.store.splits import row_hash
from bench.datasets.draws import Array, Draws, draws_on
from bench.seeds import seed as derive_seed
from bench.stats.recovery import INTERACTION, MAIN, NOISE_HIGH, NOISE_LOW, REDUNDANT

LABEL_RATE = 0.256
SIGNAL_VARIANCE = 1.85
"""Variance of the logit over rows; sets the AUC of the truth near 0.80."""
INTERACTION_SHARE = 0.2
"""Share of that variance carried by the interactions."""
COPY_NOISE = 0.15
"""Probability that a redundant field's value is drawn afresh instead of copied."""
HIGH_CARDINALITY = 1000
"""Values from which on a field without an effect counts as noise of high cardinality."""

PILOT_ROWS = 65_536
"""Rows on which effects are scaled and the intercept is found."""
BLOCK_ROWS = 131_072
_SLOTS = 1 << 16
_MISSING_ONE = 1 << 15
"""The missing draw is below this."""


@dataclass(frozen=True)
class _Integer:
    """A count: ``median`` times the odds of its quantile to the power ``spread``, less ``shift``, at most ``top``."""

    name: str
    missing: float
    median: float
    spread: float
    top: int
    shift: int = 0
    absent: str = ""
    """Fields of one group are missing in the same rows."""
    role: str = NOISE_LOW

    @cached_property
    def edges(self) -> np.ndarray:
        """Where each slot's values begin, int64 [65,537]."""
        quantiles = np.arange(_SLOTS + 1) / _SLOTS
        quantiles[-1] = (_SLOTS - 0.5) / _SLOTS
        values = self.median * (quantiles / (1 - quantiles)) ** self.spread - self.shift
        edges: np.ndarray = np.minimum(np.floor(values), self.top).astype(np.int64)
        return edges


@dataclass(frozen=True)
class _Code:
    """A categorical field: ``size`` possible values, the one of rank r with a share that falls as r^-``zipf``."""

    name: str
    missing: float
    size: int
    zipf: float
    absent: str = ""
    role: str = ""
    partner: str = ""
    """The other field of an interaction, or the source of a copy."""

    @cached_property
    def edges(self) -> np.ndarray:
        """Where each slot's ranks begin, int64 [65,537]; an interaction's values come in pairs of equal share."""
        size = self.size // 2 if self.role == INTERACTION else self.size
        quantiles = np.arange(_SLOTS + 1) / _SLOTS
        power = 1 - self.zipf
        ranks = (1 + quantiles * ((size + 1.0) ** power - 1)) ** (1 / power)
        edges: np.ndarray = np.minimum(np.floor(ranks).astype(np.int64), size) - 1
        edges[-1] = size
        return edges


_FIELDS: tuple[_Integer | _Code, ...] = (
    _Integer("I1", 0.45, 1.4, 0.8, 5_775, absent="I1 I10"),
    _Integer("I2", 0.0, 5.0, 1.6, 257_675, shift=2, role=MAIN),
    _Integer("I3", 0.21, 7.0, 0.9, 65_535),
    _Integer("I4", 0.22, 4.5, 0.7, 969, absent="I4 I13"),
    _Integer("I5", 0.026, 2_480.0, 1.15, 23_159_456, role=MAIN),
    _Integer("I6", 0.22, 40.0, 0.95, 431_037, role=MAIN),
    _Integer("I7", 0.043, 3.0, 1.0, 56_311, absent="I7 I9 I11", role=MAIN),
    _Integer("I8", 0.0005, 7.0, 0.7, 6_047),
    _Integer("I9", 0.043, 41.0, 0.85, 29_019, absent="I7 I9 I11"),
    _Integer("I10", 0.45, 0.6, 0.8, 11, absent="I1 I10"),
    _Integer("I11", 0.043, 1.3, 0.8, 231, absent="I7 I9 I11", role=MAIN),
    _Integer("I12", 0.765, 0.5, 1.1, 4_008),
    _Integer("I13", 0.22, 5.5, 0.7, 7_393, absent="I4 I13", role=MAIN),
    _Code("C1", 0.0, 1_460, 1.98),
    _Code("C2", 0.0, 584, 1.51, role=INTERACTION, partner="C8"),
    _Code("C3", 0.034, 4_000_000_000, 1.063, absent="codes"),
    _Code("C4", 0.034, 3_986_000, 1.104, absent="codes"),
    _Code("C5", 0.0, 305, 2.6),
    _Code("C6", 0.12, 24, 1.5, role=INTERACTION, partner="C17"),
    _Code("C7", 0.0, 12_517, 0.99, role=MAIN),
    _Code("C8", 0.0, 634, 2.3, role=INTERACTION, partner="C2"),
    _Code("C9", 0.0, 3, 2.9),
    _Code("C10", 0.0, 93_145, 1.127, role=MAIN),
    _Code("C11", 0.0, 5_683, 1.077, role=MAIN),
    _Code("C12", 0.034, 1_506_000_000, 1.077, absent="codes"),
    _Code("C13", 0.0, 3_194, 1.065),
    _Code("C14", 0.0, 27, 1.1, role=MAIN),
    _Code("C15", 0.0, 14_992, 1.172, role=REDUNDANT, partner="C7"),
    _Code("C16", 0.034, 83_230_000, 1.089, absent="codes"),
    _Code("C17", 0.0, 10, 1.1, role=INTERACTION, partner="C6"),
    _Code("C18", 0.0, 5_652, 1.308),
    _Code("C19", 0.44, 2_173, 1.391, absent="half"),
    _Code("C20", 0.44, 4, 1.1, absent="half"),
    _Code("C21", 0.034, 392_600_000, 1.083, absent="codes"),
    _Code("C22", 0.76, 18, 2.5),
    _Code("C23", 0.0, 15, 1.3, role=MAIN),
    _Code("C24", 0.034, 289_000, 1.189, absent="codes", role=MAIN),
    _Code("C25", 0.44, 105, 1.6, absent="half"),
    _Code("C26", 0.44, 142_600, 1.131, absent="half"),
)
_STRENGTHS = (1.0, 0.6, 0.8)
"""Of the main fields in turn, so that the size of a vocabulary says nothing about a field's worth."""
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


@dataclass(frozen=True)
class _Drawn:
    """One field's values in some rows."""

    numbers: Array
    """Counts, or codes; int64 [n]."""
    missing: Array | None
    """bool [n]; None for a field that is never missing."""
    effects: Array | None
    """float64 [n], 0 where missing; of an interaction +1 or -1. None for a field without."""


class _Source:
    """One field and its random stream."""

    def __init__(self, field: _Integer | _Code, seed: int, draws: Draws) -> None:
        self.field, self._draws = field, draws
        self._stream = derive_seed(seed=seed, stream=field.name)
        self._absent = derive_seed(seed=seed, stream=f"missing {field.absent}") if field.absent else None
        self._salt = derive_seed(seed=seed, stream=f"codes {field.name}") & 0xFFFFFFFF
        starts = field.edges[:-1]
        self._starts, self._widths = draws.put(starts), draws.put(np.maximum(np.diff(field.edges), 1))
        # effect of a count, by slot: it grows from -1 to 1 with the quantile where its range of values begins
        self._slot_effects = draws.put(2 * np.searchsorted(starts, starts) / _SLOTS - 1)
        self._normal = draws.put(_NORMAL)

    def draw(self, rows: Array, source_ranks: Array | None = None) -> tuple[_Drawn, Array]:
        """The field's values, and their ranks for a copy.

        Args:
            rows: row numbers, int64 [n].
            source_ranks: ranks of the field that this one copies.
        """
        hashes = self._draws.hashes(self._stream, rows)
        slots = hashes >> 48 & _SLOTS - 1
        inside = (hashes >> 16 & 0xFFFFFFFF) * self._widths[slots]
        ranks = self._starts[slots] + (inside >> 32)
        missing = self._missing(rows, hashes)
        is_main = self.field.role == MAIN
        if isinstance(self.field, _Integer):
            return _Drawn(ranks, missing, self._known(self._slot_effects[slots] if is_main else None, missing)), ranks
        signs = None
        if self.field.role == INTERACTION:
            bits = hashes >> 15 & 1
            ranks = 2 * ranks + bits
            signs = 1.0 - 2.0 * self._draws.floats(bits)
        if source_ranks is not None:
            own = (hashes & _MISSING_ONE - 1) < round(COPY_NOISE * _MISSING_ONE)
            ranks = self._draws.where(own, ranks, source_ranks)
        codes = self._draws.scrambled(ranks, self._salt)  # a bijection, so that the order of codes says nothing
        effects = self._normal[self._draws.byte(codes)] if is_main else signs
        return _Drawn(codes, missing, self._known(effects, missing)), ranks

    def _missing(self, rows: Array, hashes: Array) -> Array | None:
        if not self.field.missing:
            return None
        draws = hashes if self._absent is None else self._draws.hashes(self._absent, rows)
        return (draws & _MISSING_ONE - 1) < round(self.field.missing * _MISSING_ONE)

    def _known(self, effects: Array | None, missing: Array | None) -> Array | None:
        return effects if effects is None or missing is None else self._draws.where(missing, 0.0, effects)


class _Rows:
    """The values of all fields, wherever they are drawn."""

    def __init__(self, seed: int, draws: Draws) -> None:
        self.draws = draws
        self._sources = {field.name: _Source(field, seed, draws) for field in _FIELDS}

    def draw(self, rows: Array) -> dict[str, _Drawn]:
        drawn: dict[str, _Drawn] = {}
        ranks: dict[str, Array] = {}
        for name, source in self._sources.items():
            copied = getattr(source.field, "partner", "") if source.field.role == REDUNDANT else ""
            drawn[name], ranks[name] = source.draw(rows, ranks.get(copied))
        return drawn

    def column(self, one: _Drawn) -> np.ndarray:
        """Int64 [n], with the number for missing values."""
        numbers = one.numbers if one.missing is None else self.draws.where(one.missing, NO_VALUE, one.numbers)
        return self.draws.get(numbers)


class _Plan:
    """All fields, and the logit over them."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self._seed = rows, seed
        self._labels = derive_seed(seed=seed, stream="labels")
        self._weights: dict[str, tuple[float, float]] = {}
        self._pair_weight, self._intercept = 0.0, 0.0
        self._scale(_Rows(seed, Draws()).draw(np.arange(PILOT_ROWS)))

    def roles(self) -> dict[str, str]:
        """Field -> role."""
        return {field.name: _role(field) for field in _FIELDS}

    def _scale(self, pilot: Mapping[str, _Drawn]) -> None:
        """Fix weights and intercept such that the pilot rows have the wanted variance and label rate."""
        main = [field.name for field in _FIELDS if field.role == MAIN]
        strengths = [_STRENGTHS[i % len(_STRENGTHS)] for i in range(len(main))]
        unit = SIGNAL_VARIANCE * (1 - INTERACTION_SHARE) / sum(strength**2 for strength in strengths)
        for name, strength in zip(main, strengths, strict=True):
            effects = pilot[name].effects
            assert effects is not None
            self._weights[name] = strength * float(np.sqrt(unit)) / float(effects.std()), float(effects.mean())
        pairs = self._pairs()
        self._pair_weight = float(np.sqrt(SIGNAL_VARIANCE * INTERACTION_SHARE / len(pairs)))
        signal = self._signal(pilot)
        low, high = -20.0, 20.0
        for _ in range(60):
            self._intercept = (low + high) / 2
            if _sigmoid(signal + self._intercept).mean() < LABEL_RATE:
                low = self._intercept
            else:
                high = self._intercept

    def _pairs(self) -> list[tuple[str, str]]:
        ends = [(f.name, f.partner) for f in _FIELDS if isinstance(f, _Code) and f.role == INTERACTION]
        return [(a, b) for a, b in ends if a < b]

    def _signal(self, drawn: Mapping[str, _Drawn]) -> Array:
        """Logit without the intercept, float64 [n]: products and sums alone, which are the same on all devices."""
        logit: Array = 0.0
        for name, (weight, mean) in self._weights.items():
            effects = drawn[name].effects
            assert effects is not None
            logit = logit + weight * (effects - mean)
        for a, b in self._pairs():
            signs_a, signs_b = drawn[a].effects, drawn[b].effects
            assert signs_a is not None and signs_b is not None
            logit = logit + self._pair_weight * signs_a * signs_b
        return logit

    def blocks(self, block_rows: int, draws: Draws) -> Iterator[GeneratedBlock]:
        """All rows in blocks of ``block_rows``."""
        source = _Rows(self._seed, draws)
        for start in range(0, self.rows, block_rows):
            stop = min(start + block_rows, self.rows)
            drawn = source.draw(draws.rows(start, stop))
            truth = _sigmoid(draws.get(self._signal(drawn)) + self._intercept)
            hashes = row_hash(self._labels, np.arange(start, stop))
            labels = ((hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53 < truth).astype(np.uint8)
            columns = {name: source.column(one) for name, one in drawn.items()}
            yield GeneratedBlock(columns, labels, truth.astype(np.float32))


def _role(field: _Integer | _Code) -> str:
    if isinstance(field, _Code) and field.partner:
        return f"{field.role}:{field.partner}"
    if field.role:
        return field.role
    return NOISE_HIGH if isinstance(field, _Code) and field.size >= HIGH_CARDINALITY else NOISE_LOW


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    probability: np.ndarray = 1 / (1 + np.exp(-logit))
    return probability


def generate(params: Mapping[str, object], block_rows: int = BLOCK_ROWS, device: str = "cpu") -> GeneratedData:
    """Plan the data set and yield it in blocks.

    Args:
        params: ``rows`` and ``seed``; the card keeps them within their ranges.
        block_rows: rows made at a time; the data do not depend on it.
        device: where they are made: with numpy on the ``cpu``, else with torch; the data do not depend on it.

    Raises:
        ConfigError: no such device on this machine.
    """
    rows, seed = int(str(params["rows"])), int(str(params["seed"]))
    draws, plan = draws_on(device), _Plan(rows, seed)
    contents: dict[str, Content] = {f.name: "integer" if isinstance(f, _Integer) else "hex" for f in _FIELDS}
    names = tuple(field.name for field in _FIELDS)
    return GeneratedData(names, plan.roles(), plan.blocks(block_rows, draws), contents, NO_VALUE, rows)
