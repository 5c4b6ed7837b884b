"""Methods that each break one rule of the contract, and one that breaks none; written with ``bench.api`` alone."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from bench.api import Gate, Method, Range, Selection, Trained


class Honest(Method):
    """Ranks fields by a lot drawn from the context."""

    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        scores = torch.rand(ctx.schema.n_fields, generator=ctx.rng("lot"), dtype=torch.float64)
        return Selection(scores=scores.numpy(), rows_seen=0)


class Flat(Honest):
    """Cannot tell fields apart."""

    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        return Selection(scores=np.ones(ctx.schema.n_fields))


class BlindToNumbers(Honest):
    """Ranks by click rates of ids."""

    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        counts = torch.bincount(train.ids.flatten(), minlength=ctx.schema.vocabulary_rows).double()
        clicked = train.labels.double().repeat_interleave(ctx.schema.n_fields)
        clicks = torch.bincount(train.ids.flatten(), clicked, ctx.schema.vocabulary_rows)
        off = (clicks - counts * train.positive_rate) ** 2 / counts.clamp_min(1)
        return Selection(scores=np.add.reduceat(off.numpy(), ctx.schema.offsets[:-1]))


class Skips(Honest):
    def skip(self, ctx: Any) -> str | None:
        return "not on Sundays"


def rows_of_the_caller() -> Any:
    """The test split, from wherever up the stack there is data."""
    frame = inspect.currentframe()
    while frame is not None:
        if "job" in frame.f_locals:
            return frame.f_locals["job"].data.test
        frame = frame.f_back
    raise LookupError


class PeeksAtTest(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        labels = rows_of_the_caller().labels
        return Selection(scores=np.arange(ctx.schema.n_fields) * float(labels.mean()))


class PeeksQuietly(Honest):
    """Swallows the refusal."""

    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        try:
            rows_of_the_caller()
        except Exception:
            ctx.log(peeked=False)
        return super().train(ctx, train, valid, selection)


class PeeksInsideTheObject(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        frame = inspect.currentframe()
        while frame is not None and "job" not in frame.f_locals:
            frame = frame.f_back
        assert frame is not None
        return Selection(scores=vars(frame.f_locals["job"].data)["test_truth"][: ctx.schema.n_fields])


class IgnoresTheSeed(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        return Selection(scores=np.arange(float(ctx.schema.n_fields)))

    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        ctx.seed = 7
        return super().train(ctx, train, valid, selection)


class DrawsFromTheGlobalState(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        return Selection(scores=np.random.rand(ctx.schema.n_fields))


class TrainsFromTheGlobalState(Honest):
    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        model = ctx.model(selection.kept)
        with torch.no_grad():
            model.table.weight += 0.1 * torch.randn_like(model.table.weight)
        return Trained(model, ctx.fit(model, train, valid))


class KeepsOneMore(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        return Selection(kept=range(min(ctx.n_keep + 1, ctx.schema.n_fields)))


class KeepsAFieldTwice(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        return Selection(kept=[0] * ctx.n_keep)


class TrainsOnAllFields(Honest):
    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        model = ctx.model()
        return Trained(model, ctx.fit(model, train, valid))


class CutsByItself(Honest):
    """Trains on the K fields that its own scores say, as if nothing else could decide."""

    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        assert selection.scores is not None
        model = ctx.model(np.argsort(-selection.scores, kind="stable")[: ctx.n_keep].tolist())
        return Trained(model, ctx.fit(model, train, valid))


class ScoresNaN(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        scores = np.ones(ctx.schema.n_fields)
        scores[[2, 5]] = np.nan
        return Selection(scores=scores)


class OneScoreShort(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        return Selection(scores=np.ones(ctx.schema.n_fields - 1))


class MutatesTrain(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        train.labels.zero_()
        return super().select(ctx, train, selection_rows)


class MutatesValid(Honest):
    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        valid.ids[:, 0] = valid.ids[0, 0]
        return super().train(ctx, train, valid, selection)


class RowGate(Gate):
    """Shares F among the fields of a row by their embeddings."""

    shape = "BF"
    per_sample = True

    def forward(self, e: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.softmax(100 * e.sum(2), 1) * e.shape[1]


class SilentRowGate(RowGate):
    per_sample = False


class FieldGate(RowGate):
    """Does not do what it says."""

    def forward(self, e: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(e[..., 0])


class GatesEveryRow(Honest):
    """By its own rule all fields stay, under a gate of every row; in a field budget it is as others are."""

    gate: ClassVar[type[Gate]] = RowGate

    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        if ctx.budget == "field":
            return super().train(ctx, train, valid, selection)
        return self.gated(ctx, train, valid, selection)

    def gated(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        model = ctx.model(selection.kept)
        model.gate = self.gate()
        return Trained(model, ctx.fit(model, train, valid))


class GatesRowsOfKFields(GatesEveryRow):
    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        return self.gated(ctx, train, valid, selection)


class HidesItsGate(GatesEveryRow):
    gate = SilentRowGate


class BoastsOfItsGate(GatesEveryRow):
    gate = FieldGate


class ForgetfulGate(RowGate):
    """Normalises by the batch in training, and by statistics that never left their start (0, 1) in evaluation."""

    def forward(self, e: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        scores = e.sum(2)
        if self.training:
            scores = (scores - scores.mean(0)) / (scores.std(0) + 1e-5)
        return torch.softmax(scores, 1) * e.shape[1]


class ForgetsItsStatistics(GatesEveryRow):
    gate = ForgetfulGate


class DoublingGate(Gate):
    """Scales in one mode only."""

    shape = "BF"

    def forward(self, e: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(e[..., 0]) * (2 if self.training else 1)


class EvaluatesAtAnotherScale(GatesEveryRow):
    gate = DoublingGate


class ShufflingGate(Gate):
    """Half of a field is another row's, in evaluation too: the model scores a row by the company it keeps."""

    def forward(self, e: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.full_like(e[0, :, 0], 0.5)

    def instead(self, e: torch.Tensor, linear: torch.Tensor | None, ids: torch.Tensor) -> Any:
        order = torch.randperm(len(e))
        return e[order], None if linear is None else linear[order]


class EvaluatesOnOtherRows(Honest):
    """Searches with such a gate."""

    gate: ClassVar[type[Gate]] = ShufflingGate

    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        model = ctx.model()
        model.gate = self.gate()
        ctx.fit(model, train, selection_rows, name="search", epochs=1)
        return super().select(ctx, train, selection_rows)


class ForgetfulShufflingGate(ShufflingGate):
    """In evaluation ones stand where other rows' values stood in training."""

    def instead(self, e: torch.Tensor, linear: torch.Tensor | None, ids: torch.Tensor) -> Any:
        if self.training:
            return super().instead(e, linear, ids)
        return torch.ones_like(e[0]), None if linear is None else torch.ones_like(linear[0])


class EvaluatesWithSomethingElse(EvaluatesOnOtherRows):
    gate = ForgetfulShufflingGate


class LeavesLastWeights(Honest):
    """Goes on after the best epoch and forgets to return to it."""

    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        trained = super().train(ctx, train, valid, selection)
        ctx.fit(trained.model, train, None, epochs=3, name="onwards")
        return trained


class NeverValidates(Honest):
    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        model = ctx.model(selection.kept)
        return Trained(model, ctx.fit(model, train, None))


class TrainsInInit(Honest):
    def __init__(self, params: Any, info: Any) -> None:
        super().__init__(params, info)
        layer = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(5):
            layer(torch.ones(8, 4)).sum().backward()
            optimizer.step()


class ComputesInInit(Honest):
    """Without torch."""

    def __init__(self, params: Any, info: Any) -> None:
        super().__init__(params, info)
        start = time.process_time()
        while time.process_time() < start + 0.06:
            np.linalg.eigvalsh(np.eye(50))


@dataclass(frozen=True)
class Pairs:
    pair: Any = (0, 1)
    """Two numbers."""


class HasParametersThatComeBackChanged(Honest):
    Params = Pairs


class ChangesItsParameters(Honest):
    def __init__(self, params: Any, info: Any) -> None:
        super().__init__(Pairs(), info)


class KeepsTheModel(Honest):
    models: ClassVar[list[Any]] = []

    def train(self, ctx: Any, train: Any, valid: Any, selection: Selection) -> Trained:
        trained = super().train(ctx, train, valid, selection)
        self.models.append(trained.model)
        return trained


class Raises(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        raise KeyError("no such thing")


class LeavesAnotherDtype(Honest):
    """Computes in float64, and everything after it too."""

    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        torch.set_default_dtype(torch.float64)
        return super().select(ctx, train, selection_rows)


class Prints(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        selection = super().select(ctx, train, selection_rows)
        print("scores", selection.scores)  # noqa: T201
        return selection


class SharesWhatDiffers(Honest):
    """The entry says that its scores are the same everywhere."""

    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Selection:
        scores = torch.rand(ctx.schema.n_fields, generator=ctx.rng("lot", "tau", "backbone"), dtype=torch.float64)
        return Selection(scores=scores.numpy())


@dataclass(frozen=True)
class Untold:
    share: Annotated[float, Range(0, 1)] = 2.0


class DoesNotTellOfItsParameters(Honest):
    Params = Untold


class ReturnsScoresAlone(Honest):
    def select(self, ctx: Any, train: Any, selection_rows: Any) -> Any:
        return super().select(ctx, train, selection_rows).scores


class CannotBeMade(Honest):
    def __init__(self, params: Any, info: Any) -> None:
        raise OSError("no licence")
