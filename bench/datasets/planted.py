"""The planted data set: click data whose truth is known, made in seconds from six numbers.

The logit of a row is an intercept plus the effects of its true fields, and the label is drawn from that
probability, which is kept. Every field has a declared role (the grammar of ``bench.stats.recovery``):

    main              each value has an effect, alone
    interaction:fXX   its sign times the sign of field fXX; alone it says nothing about the label
    redundant:fXX     a noisy copy of main field fXX under codes of its own; no effect of its own
    noise-low         few values, no effect
    noise-high        thousands of values or nearly one per row, no effect: what memorising methods fall for
    constant          one value

With ``junk`` a ``share`` of the fields is made to mislead, after Cherepanova et al., NeurIPS 2023 (arXiv 2311.05877),
who put such columns beside those of numeric tables; here for codes:

    random                 as many values as main fields have, no effect
    corrupted:fXX          a copy of a true field, of which half of the rows are drawn afresh
    second-order:fXX+fYY   the values of two true fields as one; of no two that interact, whose effect it would show

Data of one seed differ in the junk alone: values of true fields, truth and labels are the same with each kind or none.

Values follow Zipf's law, except for the nearly unique ones. Codes are arbitrary: their order carries nothing,
and neither do names and positions. One common value of some fields is stored as missing.

An interaction field's values come in pairs of equal probability and opposite sign. Its partner's sign is
therefore +1 or -1 with probability 1/2 whatever the rest of the row is, and the probability of a click given
the field's own value is the same for all its values: exactly, not only on average.

Every draw is a hash of (seed, stream, row number). A row never depends on how many rows are made at a time,
and all columns but the noise of high cardinality are the same in a longer data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np

from bench.data.raw.generated import GeneratedBlock, GeneratedData
from bench.datasets.planted_columns import Column, uniform
from bench.errors import ConfigError, suggest
from bench.stats.recovery import (
    CONSTANT,
    CORRUPTED,
    INTERACTION,
    JUNK,
    MAIN,
    NOISE_HIGH,
    NOISE_LOW,
    RANDOM,
    REDUNDANT,
    SECOND_ORDER,
)

LABEL_RATE = 0.25
"""Share of positives that the intercept aims at."""
SIGNAL_VARIANCE = 1.8
"""Variance of the logit over rows; sets the attainable AUC near 0.80."""
INTERACTION_SHARE = 0.25
"""Share of that variance carried by the interactions, where both kinds of effect are planted."""
COPY_NOISE = 0.15
"""Probability that a redundant field's value is drawn afresh instead of copied."""
JUNK_NOISE = 0.5
"""The same of a corrupted copy. Chosen here: the paper adds noise to numbers."""
NO_JUNK = "none"
IDS_PER_ROW = 4
"""Size of the domain of nearly unique ids, per row; 88 % of the ids that occur then occur once."""

# Low and high cardinality take turns, and strengths have another period, so that the size of a
# vocabulary says nothing about a field's worth.
MAIN_SIZES = (4, 200, 10, 1500, 25, 500, 3, 60)
MAIN_STRENGTHS = (1.0, 0.6, 0.8)
PAIR_SIZES = ((6, 10), (12, 20), (4, 40))
LOW_SIZES = (2, 4, 9, 18, 36, 70)
HIGH_ROWS_PER_VALUE = (0, 2, 20)
"""Rows per value of the domain of a noise-high field; 0 stands for nearly unique ids."""
HIGH_SIZE_LIMITS = (50, 1_000_000)

PILOT_ROWS = 65_536
BLOCK_ROWS = 65_536
_RANGES = {
    "rows": (100, 100_000_000),
    "fields": (2, 1000),
    "main": (0, 1000),
    "interaction": (0, 1000),
    "redundant": (0, 1000),
    "seed": (0, 2**32 - 1),
}
_CARD_WIDE = ("min_count", "split_seed", "split")
"""Parameters that every card has; they concern the encoding, not the rows."""


@dataclass(frozen=True)
class PlantedParams:
    """What is planted; the fields that are left over are noise, one of them constant."""

    rows: int = 20_000
    fields: int = 24
    main: int = 8
    """Fields with an effect of their own, of low and of high cardinality in turn."""
    interaction: int = 2
    """Fields that matter only together with their partner; even."""
    redundant: int = 2
    """Noisy copies of main fields."""
    junk: str = NO_JUNK
    """Kind of the fields that are made to mislead: random, corrupted or second-order."""
    share: float = 0.5
    """Share of all fields that are junk, where there is any."""
    seed: int = 0

    @property
    def n_junk(self) -> int:
        return 0 if self.junk == NO_JUNK else round(self.share * self.fields)

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise _refused(name, value, f"a whole number from {low} to {high}")
        if self.interaction % 2:
            raise _refused("interaction", self.interaction, "even: interaction fields come in pairs")
        if self.main + self.interaction == 0:
            raise _refused("main", self.main, "at least 1 where interaction=0: nothing would be planted")
        if self.redundant and not self.main:
            raise _refused("redundant", self.redundant, "0 where main=0: there is no field to copy")
        self._check_junk()
        planned = self.main + self.interaction + self.redundant + self.n_junk
        if planned > self.fields:
            junk = " + junk" if self.n_junk else ""
            allowed = f"at least main + interaction + redundant{junk} = {planned}, or those must be fewer"
            raise _refused("fields", self.fields, allowed)

    def _check_junk(self) -> None:
        if self.junk not in (NO_JUNK, *JUNK):
            raise _refused("junk", self.junk, f"one of {', '.join((NO_JUNK, *JUNK))}")
        if not 0 <= self.share <= 1:
            raise _refused("share", self.share, "from 0 to 1")
        if self.junk == NO_JUNK and self.share != type(self).share:
            raise _refused("share", self.share, f"left out where junk={NO_JUNK}")
        if self.junk == SECOND_ORDER and (self.main + self.interaction < 2 or (self.main, self.interaction) == (0, 2)):
            raise _refused("junk", self.junk, "another kind where no two fields are true that do not interact")

    @classmethod
    def parse(cls, params: Mapping[str, object]) -> PlantedParams:
        """The parameters among a card's resolved ones."""
        known = [field.name for field in fields(cls)]
        own = {name: value for name, value in params.items() if name not in _CARD_WIDE}
        for name, value in own.items():
            if name not in known:
                raise ConfigError(f"planted: unknown parameter {name}={value!r}.{suggest(name, known)}")
        return cls(**own)  # type: ignore[arg-type]


def _refused(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"planted: {name}={value!r} is not allowed; it must be {allowed}.")


def _main_columns(p: PlantedParams) -> list[Column]:
    sizes = [MAIN_SIZES[i % len(MAIN_SIZES)] for i in range(p.main)]
    return [Column(p.seed, f"main {i}", MAIN, n, has_missing=i % 4 == 1) for i, n in enumerate(sizes)]


def _interaction_columns(p: PlantedParams) -> list[Column]:
    columns = []
    for pair in range(p.interaction // 2):
        keys = (f"interaction {pair} a", f"interaction {pair} b")
        for side, size in enumerate(PAIR_SIZES[pair % len(PAIR_SIZES)]):
            columns.append(Column(p.seed, keys[side], INTERACTION, size, origin=keys[1 - side], paired=True))
    return columns


def _redundant_columns(p: PlantedParams, main: list[Column]) -> list[Column]:
    """Copies of the strongest fields first; every source once before one is copied again."""
    sources = sorted(range(p.main), key=lambda i: -MAIN_STRENGTHS[i % len(MAIN_STRENGTHS)])
    chosen = [main[sources[i % p.main]] for i in range(p.redundant)]
    return [
        Column(p.seed, f"redundant {i}", REDUNDANT, source.size, origin=source.key, noise=COPY_NOISE)
        for i, source in enumerate(chosen)
    ]


def _junk_columns(p: PlantedParams, true: list[Column]) -> list[Column]:
    """Fields that mislead; of true fields, or pairs of them, in an order by lot, each once before one comes again."""
    if p.n_junk == 0:
        return []
    if p.junk == RANDOM:
        sizes = [MAIN_SIZES[i % len(MAIN_SIZES)] for i in range(p.n_junk)]
        return [Column(p.seed, f"junk {i}", RANDOM, n, has_missing=i % 4 == 1) for i, n in enumerate(sizes)]
    pairs = [(a, b) for a, b in combinations(true, 2) if a.origin != b.key]
    sources = [(one,) for one in true] if p.junk == CORRUPTED else pairs
    order = np.argsort(uniform(p.seed, f"junk {p.junk}", np.arange(len(sources))), kind="stable")
    found = []
    for i in range(p.n_junk):
        parts, key = sources[order[i % len(order)]], f"junk {p.junk} {i}"
        if len(parts) == 1:
            (source,) = parts
            more = {"origin": source.key, "paired": source.paired, "noise": JUNK_NOISE}
            found.append(Column(p.seed, key, CORRUPTED, source.size, **more))
        else:
            keys, size = "+".join(part.key for part in parts), parts[0].size * parts[1].size
            found.append(Column(p.seed, key, SECOND_ORDER, size, origin=keys, parts=parts))
    return found


def _noise_columns(p: PlantedParams, count: int) -> list[Column]:
    """One constant, then high and low cardinality in equal numbers, low where the count is odd."""
    if count == 0:
        return []
    columns = [Column(p.seed, "constant", CONSTANT, 1)]
    for i in range((count - 1) // 2):
        rows_per_value = HIGH_ROWS_PER_VALUE[i % len(HIGH_ROWS_PER_VALUE)]
        unique = rows_per_value == 0
        size = IDS_PER_ROW * p.rows if unique else int(np.clip(p.rows // rows_per_value, *HIGH_SIZE_LIMITS))
        columns.append(Column(p.seed, f"high {i}", NOISE_HIGH, size, unique=unique, has_missing=i % 3 == 1))
    for i in range(count - len(columns)):
        size = LOW_SIZES[i % len(LOW_SIZES)]
        columns.append(Column(p.seed, f"low {i}", NOISE_LOW, size, has_missing=i % 3 == 1))
    return columns


class _Plan:
    """All columns with names and places, and the logit over them."""

    def __init__(self, params: PlantedParams) -> None:
        main, pairs = _main_columns(params), _interaction_columns(params)
        columns = [*main, *pairs, *_redundant_columns(params, main), *_junk_columns(params, [*main, *pairs])]
        columns += _noise_columns(params, params.fields - len(columns))
        places = np.argsort(uniform(params.seed, "places", np.arange(len(columns))), kind="stable")
        width = max(2, len(str(params.fields - 1)))
        self.params = params
        self.columns = {f"f{i:0{width}d}": columns[place] for i, place in enumerate(places)}
        self._by_key = {column.key: column for column in columns}
        self._names = {column.key: name for name, column in self.columns.items()}
        self._effects = self._main_effects(main)
        self._weight = self._pair_weight()
        self.intercept = self._solve_intercept()

    def roles(self) -> dict[str, str]:
        found = {}
        for name, column in self.columns.items():
            others = "+".join(self._names[key] for key in column.origin.split("+") if key)
            found[name] = f"{column.role}:{others}" if others else column.role
        return found

    def _main_effects(self, main: list[Column]) -> dict[str, np.ndarray]:
        strengths = [MAIN_STRENGTHS[i % len(MAIN_STRENGTHS)] for i in range(len(main))]
        share = 1 - INTERACTION_SHARE if self.params.interaction else 1.0
        unit = SIGNAL_VARIANCE * share / sum(s**2 for s in strengths) if main else 0.0
        return {column.key: column.effects(unit * s**2) for column, s in zip(main, strengths, strict=True)}

    def _pair_weight(self) -> float:
        """Effect of one pair: its product of signs is +1 or -1, so its variance is the square."""
        if not self.params.interaction:
            return 0.0
        share = INTERACTION_SHARE if self.params.main else 1.0
        return float(np.sqrt(SIGNAL_VARIANCE * share / (self.params.interaction // 2)))

    def _signal(self, values: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Logit without the intercept, float64 [n]; ``values`` by key."""
        logit = np.zeros(n)
        for key, effects in self._effects.items():
            logit += effects[values[key]]
        for key, column in self._by_key.items():
            if column.role == INTERACTION and key < column.origin:
                odd = (values[key] + values[column.origin]) % 2
                logit += self._weight * (1 - 2 * odd)
        return logit

    def _solve_intercept(self) -> float:
        """Bisection for the intercept at which the mean probability of the pilot rows is the label rate."""
        rows = np.arange(PILOT_ROWS)
        true = [column for column in self._by_key.values() if column.role in (MAIN, INTERACTION)]
        signal = self._signal({column.key: column.values(rows) for column in true}, len(rows))
        low, high = -20.0, 20.0
        for _ in range(60):
            middle = (low + high) / 2
            if _sigmoid(signal + middle).mean() < LABEL_RATE:
                low = middle
            else:
                high = middle
        return low

    def blocks(self, block_rows: int) -> Iterator[GeneratedBlock]:
        for start in range(0, self.params.rows, block_rows):
            rows = np.arange(start, min(start + block_rows, self.params.rows))
            values = {key: column.values(rows) for key, column in self._by_key.items()}
            truth = _sigmoid(self._signal(values, len(rows)) + self.intercept)
            labels = uniform(self.params.seed, "labels", rows) < truth
            columns = {name: column.codes(values[column.key]) for name, column in self.columns.items()}
            yield GeneratedBlock(columns, labels.astype(np.uint8), truth.astype(np.float32))


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    probability: np.ndarray = 1 / (1 + np.exp(-logit))
    return probability


def generate(params: Mapping[str, object], block_rows: int = BLOCK_ROWS) -> GeneratedData:
    """Plan the data set and yield it in blocks.

    Args:
        params: any of the fields of ``PlantedParams``; the rest take their defaults.
        block_rows: rows made at a time; the data do not depend on it.

    Raises:
        ConfigError: a parameter is unknown, out of its range or at odds with another.
    """
    plan = _Plan(PlantedParams.parse(params))
    return GeneratedData(tuple(plan.columns), plan.roles(), plan.blocks(block_rows))
