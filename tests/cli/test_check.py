"""Ten plug-ins with the faults that are made most, and what ``check`` says of each; and who may be checked at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.checks import backbone, rules
from bench.checks.verdict import MENDS
from bench.cli import main

Check = Callable[..., tuple[int, str]]

HEAD = """
from dataclasses import dataclass

import numpy as np
import torch

from bench.api import Gate, Method, MethodEntry, Selection, Trained

DECLARED = {}


def lot(ctx):
    return torch.rand(ctx.schema.n_fields, generator=ctx.rng("lot"), dtype=torch.float64).numpy()


"""
TAIL = '\n\nENTRY = MethodEntry(f"{__name__}:Own", "Own", **DECLARED)\n'

SELECT = """
class Own(Method):
    def select(self, ctx, train, selection_rows):
        {}
"""
GATED = """
class RowGate(Gate):
    shape, per_sample = "BF", True

    def forward(self, e, ids):
        {}


class Own(Method):
    def select(self, ctx, train, selection_rows):
        return Selection(scores=lot(ctx))

    def train(self, ctx, train, valid, selection):
        if ctx.budget == "field":
            return super().train(ctx, train, valid, selection)
        model = ctx.model()
        model.gate = RowGate()
        return Trained(model, ctx.fit(model, train, valid))
"""

TEN = {
    "a syntax error": (
        "class Own(Method:\n    pass\n",
        ["can be loaded", "own.py, line 16 (class Own(Method:): SyntaxError: "],
    ),
    "scores that are not finite": (
        SELECT.format("return Selection(scores=lot(ctx) * np.array([np.nan] + [1.0] * (ctx.schema.n_fields - 1)))"),
        ["scores are as declared", "the scores of fields [0] are not finite", "mend: return Selection(scores=...)"],
    ),
    "a score too few": (
        SELECT.format("return Selection(scores=lot(ctx)[1:])"),
        ["scores are as declared", "scores have shape (7,); wanted one for each of the 8 fields"],
    ),
    "a column of scores": (
        SELECT.format("return Selection(scores=lot(ctx)[:, None])"),
        ["scores are as declared", "scores have shape (8, 1); wanted one for each of the 8 fields"],
    ),
    "a test split that is read": (
        "import inspect\n"
        + SELECT.format(
            "job = next(f.frame.f_locals['job'] for f in inspect.stack() if 'job' in f.frame.f_locals)\n"
            "        return Selection(scores=lot(ctx) * float(job.data.test.labels.mean()))"
        ),
        ["leaves the test split alone", "select read test", "mend: use the rows that select and train are given"],
    ),
    "a gate that is another in evaluation": (
        GATED.format("return torch.softmax(100 * e.sum(2), 1) * e.shape[1] * (2 if self.training else 1)")
        + 'DECLARED = {"per_sample": True, "uses_tau": False}\n',
        [
            "gates alike in both modes",
            "the gate of the training 'fit' multiplies fields by",
            "mend: the same factors whether self.training",
        ],
    ),
    "a gate of rows that the entry does not declare": (
        GATED.format("return torch.softmax(100 * e.sum(2), 1) * e.shape[1]"),
        ["gates rows as declared", "the entry must say per_sample=True", "mend: per_sample=True in the entry"],
    ),
    "rows that are changed": (
        SELECT.format("train.labels.zero_()\n        return Selection(scores=lot(ctx))"),
        ["leaves rows unchanged", "select changed labels of the training rows", "mend: work on a copy"],
    ),
    "numbers from the global generator, and a print": (
        SELECT.format("print('scores')\n        return Selection(scores=np.random.rand(ctx.schema.n_fields))"),
        [
            "repeats",
            "selection.scores differs between two runs of one seed",
            "leaves settings alone",
            "select moves the global random state of NumPy",
            "prints nothing",
            "select prints to stdout: 'scores'",
            "mend: draw from ctx.rng(...)",
        ],
    ),
    "a parameter without a word": (
        "@dataclass\nclass OwnParams:\n    share: float = 0.5\n\n\n"
        + SELECT.format("return Selection(scores=lot(ctx))").replace("Method)", "Method[OwnParams])")
        + "\n    Params = OwnParams\n",
        [
            "documents its parameters",
            "OwnParams is not frozen",
            "the parameter 'share' of OwnParams has no docstring",
            "mend: a frozen dataclass",
        ],
    ),
}
"""What is wrong, the code of it, and what is said: the rule, the fault, the mend."""


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fresh_registries: object
) -> Check:
    """Check a plug-in by its code; gives the exit status and what is printed, as one line."""
    monkeypatch.chdir(tmp_path)

    def run(code: str, name: str = "own.py") -> tuple[int, str]:
        Path(name).write_text(code, encoding="utf-8")
        status = main(["check", "--plugin", name, "--backbone", "dnn[mlp=4]"])
        return status, " ".join(capsys.readouterr().out.split())

    return run


@pytest.mark.parametrize("what", TEN)
def test_what_is_wrong_is_named_with_its_mend(what: str, check: Check) -> None:
    code, said = TEN[what]
    status, out = check(HEAD + code + TAIL)
    assert status == 1
    assert [part for part in said if part not in out] == [], out
    assert "rules broken, in" in out
    named = {rule for rule in MENDS if f"FAIL {rule.replace('_', ' ')} " in out}
    assert named <= {part.replace(" ", "_") for part in said} | {"runs"}, out  # nothing else is blamed


def entry(line: str, code: str = SELECT.format("return Selection(scores=lot(ctx))")) -> str:
    return HEAD + code + line


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (entry(""), 'own.py has no ENTRY. Add at its end: ENTRY = MethodEntry(f"{__name__}:Own", "Own")'),
        (HEAD, 'own.py has no ENTRY. Add at its end: ENTRY = MethodEntry(f"{__name__}:MyMethod", "My Method")'),
        (entry("\nENTRY = Own\n"), "ENTRY is a type; wanted a MethodEntry or BackboneEntry"),
        (entry('\nENTRY = MethodEntry("own:Own", "Own")\n'), "is 'own:Own', which need not be this file; write f\"{__"),
        (entry(TAIL.replace(":Own", ":Onw")), "the class 'Onw', which is not in the file. Did you mean 'Own'?"),
        ("import no_such_module\n", "own.py, line 1 (import no_such_module): ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "own.py, line 1 (raise SystemExit(3)): SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(code: str, said: str, check: Check) -> None:
    status, out = check(code)
    assert status == 1
    assert "FAIL can be loaded" in out
    assert said in out
    assert out.endswith("1 of 1 rules broken, in 0 s")


def test_a_class_that_is_no_method_and_parameters_that_are_no_dataclass_fail_as_such(check: Check) -> None:
    _, out = check(HEAD + "class Own:\n    pass\n" + TAIL)
    assert "method cannot be imported" in out and "type object 'Own' has no attribute 'Params'" in out
    _, out = check(HEAD + SELECT.format("return Selection(scores=lot(ctx))") + "\n    Params = dict\n" + TAIL, "two.py")
    assert "TypeError: Own.Params is no dataclass" in out


def test_what_was_not_reached_is_not_called_kept(check: Check) -> None:
    status, out = check(HEAD + SELECT.format("return self.nothing") + TAIL)
    assert status == 1
    assert "FAIL runs at prune ratio 0.5, seed 0 the cell ended failed: AttributeError: 'Own' object has no" in out
    assert "(own.py, line 19, in select)" in out
    assert "- repeats: not judged, it did not come so far" in out
    assert "ok documents its parameters" in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "name a method or backbone to check, or give its file: --plugin FILE.py."),
        (["nothing-of-the-kind"], "is no method or backbone that is known here."),
        (["planted"], "planted is a data set; this command checks methods and backbones"),
        (["random-k[no=1]"], "random-k has no parameter 'no'"),
        (["--plugin", "gone.py"], "plugin=gone.py is not there. Give the Python file of a method or backbone."),
    ],
)
def test_what_cannot_be_checked_is_bad_input(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *argv]) == 2
    assert said in capsys.readouterr().err


def test_every_rule_has_its_mend() -> None:
    known = {rule.__name__ for rule in (*rules.RULES, *backbone.RULES)}
    assert known | {"can_be_loaded"} == set(MENDS)
