"""What a run consists of: choices read from the command line, and the cells they make."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from typing import Any, Literal

from bench import plugins
from bench.budget import MATCH, Budgeted
from bench.errors import ConfigError
from bench.method import Method
from bench.params import Content, Spec, convert, fill, params_dict, parse_spec
from bench.registry import FILE_SUM, MethodEntry, Registry, Span

SelSplit = Literal["train", "valid"]

GROUPS = ("all", "paper")
"""Names that stand for several plug-ins: all that need no file of the user's, and the rows of the paper."""


@dataclass(frozen=True)
class Member:
    """A method that another one ranks by."""

    text: str
    """As the other one names it."""
    method: MethodChoice
    rankings: float
    """How many rankings of all rows it is asked for."""


@dataclass(frozen=True)
class MethodChoice:
    """A method with its parameters resolved.

    ``error`` holds the traceback where the plug-in could not be imported: its cells fail, the others run.
    """

    name: str
    label: str
    entry: MethodEntry
    params: Any
    budget: str
    sel_split: SelSplit
    uses_tau: bool
    """Whether the prune ratio changes anything under these parameters and this budget."""
    budget_by: Budgeted = "count"
    """What a field budget counts."""
    error: str | None = None
    members: tuple[Member, ...] = ()
    matches: str | None = None
    """Label of the row whose bytes its cells are held to."""
    of_tau: bool = True
    """Of such a method: whether the prune ratio moves that row."""

    @property
    def rule(self) -> str:
        """The budget as records and tables have it: what a field budget counts, where it is not fields."""
        if self.matches is not None:
            return f"{MATCH}{self.matches}"
        return self.budget_by if self.budget == "field" and self.budget_by != "count" else self.budget

    def params_dict(self, identity: bool = False) -> dict[str, Any]:
        """Resolved parameters for the record; for the ``identity`` of a cell without the names of files."""
        return params_dict(self.params, identity)

    def make(self) -> Method[Any]:
        """The method itself, with its parameters."""
        return self.made_of(self.load())

    def made_of(self, cls: type[Method[Any]]) -> Method[Any]:
        """The method as one of the class ``cls``."""
        method = cls(self.params, self.entry)
        if self.members:
            method.inner = {member.text: member.method.make() for member in self.members}
        return method

    def load(self) -> type[Method[Any]]:
        """The method's class; an import error of the plug-in passes through."""
        loaded: type[Method[Any]] = plugins.methods().load(self.name)
        return loaded

    def members_identity(self) -> list[dict[str, Any]]:
        """Of its members, what decides the result."""
        found = []
        for one in self.members:
            known = {"method": one.method.name, "params": one.method.params_dict(identity=True)}
            code = plugins.methods().version(one.method.name).get(FILE_SUM)
            found.append(known | ({} if code is None else {"method_code": code}))
        return found

    def search_cost(self, n_fields: int) -> Span:
        """PT in trainings of the model with all of ``n_fields`` fields, that of its members included."""
        members = [(one.method.entry.search_cost_of(n_fields), one.rankings) for one in self.members]
        costs = [(self.entry.search_cost_of(n_fields), 1.0), *members]
        return sum(span[0] * times for span, times in costs), sum(span[1] * times for span, times in costs)

    def order(self) -> int:
        """Position of the method's row in every table."""
        return plugins.methods().order(self.name)


@dataclass(frozen=True)
class Cell:
    """One configuration: plain text and numbers, so that it travels to another process."""

    dataset: str
    backbone: str
    method: str
    tau: float | None
    seed: int

    @property
    def title(self) -> str:
        tau = "" if self.tau is None else f" τ={self.tau:g}"
        return f"{self.dataset} {self.backbone} {self.method}{tau} seed {self.seed}"

    def held_to(self, method: MethodChoice) -> Cell | None:
        """The cell whose bytes this one, of ``method``, is held to."""
        if method.matches is None:
            return None
        return replace(self, method=method.matches, tau=self.tau if method.of_tau else None)


def expand(names: Sequence[str], known: Registry[Any]) -> list[str]:
    """Replace ``all`` and ``paper`` by the names they stand for; repeated specs are dropped."""
    expanded: list[str] = []
    for text in names:
        if text == "all":
            expanded += [name for name in known.names() if not getattr(known.entry(name), "takes_ranking", False)]
        elif text == "paper":
            expanded += [name for name in known.names() if known.entry(name).paper]
        else:
            expanded.append(text)
    return list(dict.fromkeys(expanded))


def choose_method(text: str, entry: MethodEntry | None = None, whose: str | None = None) -> MethodChoice:
    """Resolve ``name[param=value,...]``; ``budget`` and ``sel_split`` are parameters of every method.

    Args:
        text: the method as on the command line.
        entry: stands in for the registry's, for a method that is not registered.
        whose: name of the method that it is to be a member of; one with members of its own is none.

    Raises:
        ConfigError: an unknown method or parameter, or a value that is not allowed.
    """
    spec = parse_spec(text)
    load = partial(plugins.methods().load, spec.name) if entry is None else entry.load
    entry = plugins.methods().entry(spec.name) if entry is None else entry
    spec, partner = _partner(spec, entry)
    own = dict(spec.given)
    budget = _budget(spec.name, entry, own.pop("budget", None), partner)
    sel_split = convert(
        own.pop("sel_split", "train"), SelSplit, f"{spec.name}: sel_split={spec.given.get('sel_split')}"
    )
    choice = partial(MethodChoice, name=spec.name, label=spec.label, entry=entry, budget=budget, sel_split=sel_split)
    if partner is not None:
        choice = partial(choice, matches=partner.label, of_tau=partner.uses_tau)
    try:
        method = load()
        known = method.Params
        if not (isinstance(known, type) and is_dataclass(known)):
            raise TypeError(f"{method.__name__}.Params is no dataclass")
    except Exception:  # a plug-in may fail in any way; only its own cells may suffer
        return choice(params=None, uses_tau=entry.uses_tau, error=traceback.format_exc())
    params = fill(known, own, spec.name)
    choice = partial(choice, label=_label(spec, params))
    try:
        made = method(params, entry)
    except Exception:  # its cells will say why it cannot be made
        return choice(params=params, uses_tau=entry.uses_tau)
    try:
        named, uses_tau = dict(made.members()), bool(made.uses_tau(budget))
    except Exception:  # nor may this stop the run
        return choice(params=params, uses_tau=entry.uses_tau, error=traceback.format_exc())
    if named and whose is not None:
        raise ConfigError(f"{whose}: {text!r} is made of other methods itself; name those.")
    members = tuple(_member(spec.name, one, float(times)) for one, times in named.items())
    error = next((one.method.error for one in members if one.method.error), None)
    found: MethodChoice = choice(params=params, uses_tau=uses_tau, members=members, error=error)
    return found if partner is None else _held_to(found, partner)


def _budget(name: str, entry: MethodEntry, asked: str | None, partner: MethodChoice | None) -> str:
    """The rule that a method runs under, as the method sees it: in its own unit where it is held to a ``partner``.

    Raises:
        ConfigError: it has no such rule.
    """
    if partner is not None:
        return matched_unit(entry)
    budgets = budgets_of(entry)
    if asked is not None and asked not in budgets:
        more = f", or {MATCH}LABEL with the label of another row" if matched_unit(entry) else ""
        raise ConfigError(f"{name}: budget={asked} is not allowed; choose one of {', '.join(budgets)}{more}.")
    return budgets[0] if asked is None else asked


def matched_unit(entry: MethodEntry) -> str:
    """The budget under which a method takes the bytes of another row: of its own unit, or fields; "" if it has none."""
    budgets = budgets_of(entry)
    return next((budget for budget in ("exact", "field") if budget in budgets), "")


def _partner(spec: Spec, entry: MethodEntry) -> tuple[Spec, MethodChoice | None]:
    """``spec`` with its partner's label in canonical spelling, and the partner, whose bytes it is held to, or None.

    Raises:
        ConfigError: there is no such method, or its own budget is that of another row, or the asking one drops nothing.
    """
    asked = spec.given.get("budget", "")
    if not asked.startswith(MATCH):
        return spec, None
    where = f"{spec.name}: budget={asked}"
    if not matched_unit(entry):
        raise ConfigError(f"{where} is not allowed: the method keeps all fields and all of their embeddings.")
    if not (named := asked.removeprefix(MATCH).strip()):
        raise ConfigError(f"{where} names no row; write budget={MATCH}LABEL with the label of one.")
    try:
        partner = choose_method(named)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if partner.matches is not None:
        raise ConfigError(
            f"{where} names a row that is held to another one itself; name that one, {partner.matches!r}."
        )
    return replace(spec, given=spec.given | {"budget": f"{MATCH}{partner.label}"}), partner


def alone(choice: MethodChoice) -> MethodChoice:
    """``choice``, where there are no cells of other rows.

    Raises:
        ConfigError: it is to be held to those of one.
    """
    if choice.matches is not None:
        raise ConfigError(
            f"{choice.label}: there are no cells of {choice.matches!r} here whose bytes it could be held to; leave the "
            f"budget out."
        )
    return choice


def _held_to(choice: MethodChoice, partner: MethodChoice) -> MethodChoice:
    """``choice`` with the prune ratios of its partner, and with its own where its scores depend on them.

    Raises:
        ConfigError: both are the same method under the same settings and in the same unit.
    """
    own, other = ((one.name, one.params, one.sel_split, one.budget) for one in (choice, partner))
    if own == other:
        raise ConfigError(
            f"{choice.label}: the row is held to itself; name another one, or leave out budget={MATCH}{partner.label}."
        )
    try:
        moved = "tau" in choice.make().axes()
    except Exception:  # a plug-in may fail in any way; only its own cells may suffer
        moved = True
    return replace(choice, uses_tau=partner.uses_tau or moved)


def _member(whose: str, text: str, rankings: float) -> Member:
    """A method that ``whose`` ranks by.

    Raises:
        ConfigError: there is no such method, or it does not rank fields by itself and before it trains.
    """
    try:
        choice = choose_method(text, whose=whose)
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(f"{whose}: ") else f"{whose}: {error}") from None
    given = [name for name in ("budget", "sel_split") if name in parse_spec(text).given]
    if given:
        raise ConfigError(f"{whose}: {text!r} gives {given[0]}, which is that of {whose}; leave it out there.")
    why = ""
    if choice.entry.takes_ranking:
        why = "reads its ranking from a file"
    elif choice.entry.scores == "train":
        why = "has scores only once its model is trained"
    elif choice.entry.scores == "none" or "field" not in budgets_of(choice.entry):
        why = "gives fields no scores"
    if why:
        raise ConfigError(f"{whose}: {text!r} {why}; name methods that rank fields by themselves before they train.")
    return Member(text, replace(choice, budget="field"), rankings)


def _label(spec: Spec, params: Any) -> str:
    """The spec in its canonical spelling; files go by their names, wherever they lie."""
    named = {key: value.name for key in spec.given if isinstance(value := getattr(params, key, None), Content)}
    return replace(spec, given=spec.given | named).label


def budgets_of(entry: MethodEntry) -> tuple[str, ...]:
    """Budget rules a method may run under, its default first."""
    if entry.granularity == "field" and not entry.per_sample:
        return ("field", "native") if entry.free_count else ("field",)
    field = () if entry.scores == "none" else ("field",)
    if entry.granularity == "weight":
        return ("exact", *(("native",) if entry.free_count else ()), *field)
    exact = ("exact",) if entry.granularity in ("value", "dimension") else ()
    return ("native", *exact, *field)


def choose_backbone(text: str) -> Spec:
    """Check a backbone's name and parameter names early; values are resolved with the profile.

    Raises:
        ConfigError: an unknown backbone or parameter.
    """
    spec = parse_spec(text)
    plugins.backbones().entry(spec.name)
    return spec


def cells(
    datasets: Sequence[str],
    backbones: Sequence[str],
    methods: Sequence[MethodChoice],
    taus: Sequence[float],
    seeds: int,
) -> Iterator[Cell]:
    """All cells of a run, seed by seed and methods innermost, so that drift of the machine hits all alike.

    A method without a prune ratio makes one cell, not one for every τ. What is held to the bytes of another row comes
    after all that is not.
    """
    ordered = sorted(methods, key=lambda method: method.matches is not None)
    for dataset in datasets:
        for seed in range(seeds):
            for backbone in backbones:
                for number, tau in enumerate(taus):
                    for method in ordered:
                        if method.uses_tau:
                            yield Cell(dataset, backbone, method.label, tau, seed)
                        elif number == 0:
                            yield Cell(dataset, backbone, method.label, None, seed)
