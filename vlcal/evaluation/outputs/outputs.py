"""What a file of model outputs comes to: confidences, and what each is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vlcal.evaluation.metrics.judged import Judged
from vlcal.evaluation.outputs.column import Floats, Names
from vlcal.evaluation.outputs.scale import PlainScale, Scale
from vlcal.evaluation.outputs.sheet import Sheet
from vlcal.evaluation.outputs.statement import Statement
from vlcal.scores import HarmonicMean


@dataclass(frozen=True)
class Request:
    """What the user said about the files; None leaves it to the format.

    Args:
        confidence: Column of the overall confidence.
        visual: Column of the visual confidence.
        reasoning: Column of the reasoning confidence.
        correct: Column of the verdict on the answer; a dot reaches into a JSON object, as in `average.score`.
        read_right: Column of whether the image was read right.
        reasoned_right: Column of whether the answer follows from what was read.
        question: Column of the question's id; samples of one question are resampled together.
        dataset: Column of the data set's name.
        scale: What confidences are written on.
        statement: Finds the confidences in the text of a response; None looks for columns, then for vlcal's own form.
    """

    confidence: str | None = None
    visual: str | None = None
    reasoning: str | None = None
    correct: str | None = None
    read_right: str | None = None
    reasoned_right: str | None = None
    question: str | None = None
    dataset: str | None = None
    scale: Scale = field(default_factory=PlainScale)
    statement: Statement | None = None

    @property
    def confidences(self) -> dict[str, str]:
        """The columns of confidences that were named, by kind."""
        given = {"overall": self.confidence, "visual": self.visual, "reasoning": self.reasoning}
        return {kind: name for kind, name in given.items() if name is not None}


@dataclass(frozen=True)
class Outputs:
    """One model's outputs, read and checked.

    Args:
        path: Where they are from.
        confidence: In [0, 1] by kind, of `overall`, `visual` and `reasoning` those that are there; NaN where absent.
        truth: By kind what it is held against, in [0, 1], NaN where unknown.
        held_against: By kind the name of that truth.
        question: The question's id.
        dataset: The data set's name; `all` where there is only one.
        certainty: Score of the label-free visual certainty, any scale; None where nobody measured it.
    """

    path: Path
    confidence: Mapping[str, Floats]
    truth: Mapping[str, Floats]
    held_against: Mapping[str, str]
    question: Names
    dataset: Names
    certainty: Floats | None = None

    def judged(self, kind: str) -> Judged:
        """One kind of confidence as metrics take it."""
        return Judged(self.confidence[kind], self.truth[kind], self.question, self.dataset)


def outputs_of(
    sheet: Sheet,
    confidence: Mapping[str, Floats],
    truths: Mapping[str, Floats],
    question: Names,
    dataset: Names,
) -> Outputs:
    """Outputs with every confidence held against the best truth that is known.

    The overall confidence, where only the other two are stated, is their harmonic mean. The visual one is held against
    `read_right` and the reasoning one against `reasoned_right` where anybody knows these, otherwise against `correct`.

    Args:
        sheet: Where they are from.
        confidence: Of each kind that is there.
        truths: `correct`, and what else is known of `read_right` and `reasoned_right`.
        question: The question of each row.
        dataset: The data set of each row.
    """
    kinds = dict(confidence)
    if "overall" not in kinds and {"visual", "reasoning"} <= set(kinds):
        columns = (torch.from_numpy(kinds[kind]) for kind in ("visual", "reasoning"))
        kinds = {"overall": HarmonicMean()(*columns).numpy(), **kinds}
    better = {"visual": "read_right", "reasoning": "reasoned_right"}
    against = {kind: better[kind] if better.get(kind) in truths else "correct" for kind in kinds}
    truth = {kind: truths[name] for kind, name in against.items()}
    return Outputs(sheet.path, kinds, truth, against, question, dataset)
