"""What a check says: a verdict on every rule, and what to change where one is broken."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MENDS", "ContractError", "Examined", "Verdict", "unusable"]


class ContractError(AssertionError):
    """A plug-in breaks the contract; the message lists every fault with the rule it breaks."""


@dataclass(frozen=True)
class Verdict:
    """What came out of one rule."""

    rule: str
    """Name of the rule, which says what is demanded."""
    faults: tuple[str, ...] = ()
    judged: bool = True
    """False where the plug-in did not come far enough."""


@dataclass(frozen=True)
class Examined:
    """What came out of all rules."""

    title: str
    verdicts: tuple[Verdict, ...]
    skipped: str | None = None
    """The method's own reason not to run here; then no rule was applied."""

    @property
    def faults(self) -> list[str]:
        """Every fault with its rule."""
        return [f"{verdict.rule}: {fault}" for verdict in self.verdicts for fault in verdict.faults]


def unusable(title: str, reason: str) -> Examined:
    """Of a plug-in that cannot be loaded."""
    return Examined(title, (Verdict("can_be_loaded", (reason,)),))


MENDS: dict[str, str] = {
    "can_be_loaded": "mend that line first; nothing else can be judged before the file loads",
    "documents_its_parameters": "a frozen dataclass; under each parameter a docstring that says what it does and where "
    "its default comes from, as in `rate: Annotated[float, Range(0, 1)] = 0.1`",
    "constructor_does_no_work": "keep params and info in __init__ and nothing else; work belongs to select and train",
    "parameters_are_plain": "numbers, texts, booleans, None and lists of these; leave self.params as it was given",
    "leaves_the_test_split_alone": "use the rows that select and train are given, and no others",
    "leaves_rows_unchanged": "work on a copy, as in rows.labels.clone(); other methods see the same rows",
    "leaves_settings_alone": "draw from ctx.rng(...) and pass generators on; set nothing that outlives the call",
    "prints_nothing": "remove it, or keep it with ctx.log(name=value), which puts it into the record",
    "scores_are_as_declared": "return Selection(scores=...), one finite number a field, higher is kept; "
    "for a method without scores, or with scores from train, say so by scores= in the entry",
    "runs": "find the line; `python -m bench run` with the same method shows the whole traceback in its record",
    "repeats": "draw from ctx.rng(...) alone: torch.rand(n, generator=ctx.rng('start')), "
    "or np.random.default_rng(ctx.rng('start').initial_seed())",
    "follows_the_seed": "leave ctx.seed alone, and build models with ctx.model() and train them with ctx.fit()",
    "declares_what_scores_depend_on": "add it to depends_on of the entry; otherwise one cell's ranking serves others",
    "reads_every_kind_of_field": "numbers lie in rows.numeric; rows.bucketed(16) turns them into ids of ranges",
    "keeps_k_fields": "leave kept= out and give scores, so that the harness cuts; or keep exactly ctx.n_keep fields, "
    "and train ctx.model(selection.kept)",
    "honours_the_card": "leave kept= out and give scores; train ctx.model(selection.kept), however many there are",
    "gates_rows_as_declared": "per_sample=True in the entry and in the gate's class where rows differ; under "
    "ctx.budget == 'field' return scores and train without a gate",
    "gates_alike_in_both_modes": "the same factors whether self.training or not, but for noise around them; `instead` "
    "gives in evaluation the mean of what it gives in training",
    "gates_rows_one_by_one": "where not self.training, draw nothing and look at no other row: a mean over the batch, "
    "a row of it or its order become a running mean, kept in a buffer while training",
    "ends_on_the_best_weights": "return the model as ctx.fit(model, train, valid) leaves it: it puts the best back",
    "times_add_up": "a fault of the harness: please report it",
    "frees_memory": "keep models and rows in local names, not on self, the class or the module",
    "gives_its_parameters": "defaults(profile) returns Params(...), filled from the profile where it can be",
    "scores_rows": "forward(e [B, F, D], linear [B, F] or None) returns one logit a row, [B]; uses_linear = True where "
    "linear weights are read",
    "scores_rows_one_by_one": "nothing in evaluation may look at other rows: no batch statistics, no softmax over rows",
    "draws_no_weights_of_its_own": "the harness draws weights of two and more dimensions; start others at constants",
    "leaves_inputs_unchanged": "no operation in place on e or linear",
    "reads_every_field": "every field's embedding has to reach the logit",
    "slices_to_the_same_scores": "slice_fields(kept) keeps the weights of those fields (field_columns, slice_columns), "
    "sets n_fields, and gives what the whole one gives for embeddings of zero in the other fields",
    "absorbs_constants": "absorb(e [F, D], linear [F] or None) adds to biases in place; leave absorbs = False where "
    "fields are multiplied with each other",
    "slices_are_copies": "copy.deepcopy(self), then cut; the whole backbone goes on being used",
    "methods_keep_the_contract": "what fails is the first method that keeps or draws fields; mend the backbone's "
    "rules above first",
}
"""What to change, by rule."""
