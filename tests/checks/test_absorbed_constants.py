"""The rule on backbones that take constants into their biases."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from backbones.deepfm import DeepFM
from bench.checks.backbone import Subject, absorbs_constants
from bench.checks.example import PROFILE
from bench.plugins import backbones
from bench.run.job import resolve_backbone


class Presumptuous(DeepFM):
    """Says that it absorbs, and leaves out what the constants multiply."""

    absorbs = True

    def absorb(self, e: Tensor, linear: Tensor | None) -> None:
        self.mlp.shift_inputs(e.flatten())


def test_only_backbones_that_multiply_no_fields_absorb_and_those_that_say_so_do() -> None:
    subjects = {name: Subject(resolve_backbone(name, PROFILE)) for name in backbones().names()}
    assert {name for name, subject in subjects.items() if subject.whole.absorbs} >= {"wide-deep", "dnn", "logistic"}
    assert not any(subjects[name].whole.absorbs for name in ("xdeepfm", "deepfm", "pnn", "fm", "dcnv2"))
    assert [fault for subject in subjects.values() for fault in absorbs_constants(subject)] == []


def test_one_that_only_says_so_is_caught() -> None:
    subject = Subject(replace(resolve_backbone("deepfm", PROFILE), cls=Presumptuous))
    (fault,) = absorbs_constants(subject)
    assert fault.startswith("absorb differs from constants added to every row")
