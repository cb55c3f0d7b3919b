"""What a file of model outputs comes to: confidences, and what each is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.metrics import ScoredResponses
from vlcal.evaluation.outputs.column import Floats, Names, PlainScale, Scale
from vlcal.evaluation.outputs.sheet import Sheet
from vlcal.evaluation.outputs.statement import Statement

ONE_DATASET = "all"


@dataclass(frozen=True)
class Request:
    """What the user said about the files; None leaves it to the format.

    Args:
        confidence: Column of the overall confidence.
        visual: Column of the visual confidence.
        reasoning: Column of the reasoning confidence.
        correct: Column of the verdict on the answer; a dot reaches into a JSON object, as in `average.score`.
        perception_correct: Column of whether the image was read right.
        reasoning_correct: Column of whether the answer follows from what was read.
        question: Column of the question's id; samples of one question are resampled together.
        dataset: Column of the data set's name.
        response: Column of the texts that state the confidences.
        filter: Of a sample log, the filter whose rows are read.
        scale: What confidences are written on.
        statement: Reads the confidences from the text of a response; None takes columns, then vlcal's own form.

    Raises:
        UserError: If both confidences and texts are named.
    """

    confidence: str | None = None
    visual: str | None = None
    reasoning: str | None = None
    correct: str | None = None
    perception_correct: str | None = None
    reasoning_correct: str | None = None
    question: str | None = None
    dataset: str | None = None
    response: str | None = None
    filter: str | None = None
    scale: Scale = field(default_factory=PlainScale)
    statement: Statement | None = None

    def __post_init__(self) -> None:
        if self.confidences and self.response is not None:
            raise UserError(
                f"`response` names texts that state the confidences, and `{next(iter(self.confidences.values()))}` a "
                "column that holds them. Name one or the other."
            )

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
        certainty: Score of the label-free visual certainty, any scale; None where it was not measured.
    """

    path: Path
    confidence: Mapping[str, Floats]
    truth: Mapping[str, Floats]
    held_against: Mapping[str, str]
    question: Names
    dataset: Names
    certainty: Floats | None = None

    def judged(self, kind: str) -> ScoredResponses:
        """One kind of confidence as metrics take it."""
        return ScoredResponses(self.confidence[kind], self.truth[kind], self.question, self.dataset)


def outputs_of(
    sheet: Sheet,
    confidence: Mapping[str, Floats],
    truths: Mapping[str, Floats],
    question: Names,
    dataset: Names,
) -> Outputs:
    """Outputs with every confidence held against the best truth that is known.

    The overall confidence, where only the other two are stated, is their harmonic mean. The visual one is held against
    `perception_correct` and the reasoning one against `reasoning_correct` where these are known, otherwise against
    `correct`.

    Args:
        sheet: Where they are from.
        confidence: Of each kind that is there.
        truths: `correct`, and what else is known of `perception_correct` and `reasoning_correct`.
        question: The question of each row.
        dataset: The data set of each row.
    """
    kinds = dict(confidence)
    if "overall" not in kinds and {"visual", "reasoning"} <= set(kinds):
        kinds = {"overall": _harmonic_mean(kinds["visual"], kinds["reasoning"]), **kinds}
    better = {"visual": "perception_correct", "reasoning": "reasoning_correct"}
    against = {kind: better[kind] if better.get(kind) in truths else "correct" for kind in kinds}
    truth = {kind: truths[name] for kind, name in against.items()}
    return Outputs(sheet.path, kinds, truth, against, question, dataset)


def joined(folder: Path, parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several files as one, each file a data set of its own where it names none.

    Raises:
        UserError: If the files state different confidences or know different truths, or share a data set.
    """
    first, *others = parts
    for other in others:
        if other.held_against != first.held_against:
            raise UserError(
                f"{folder}: the files of a folder must hold the same confidences, held against the same truths; "
                f"{_described(first)}, but {_described(other)}. Give the files one by one."
            )
    datasets = [np.full(len(part.dataset), part.path.stem) if _is_one(part) else part.dataset for part in parts]
    names = [name for dataset in datasets for name in set(dataset.tolist())]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{folder}: two files hold the data set `{twice[0]}`. Give the files one by one.")
    certainties = [part.certainty for part in parts if part.certainty is not None]
    return replace(
        first,
        path=folder,
        confidence={kind: np.concatenate([part.confidence[kind] for part in parts]) for kind in first.confidence},
        truth={kind: np.concatenate([part.truth[kind] for part in parts]) for kind in first.truth},
        question=np.concatenate([part.question for part in parts]),
        dataset=np.concatenate(datasets),
        certainty=np.concatenate(certainties) if len(certainties) == len(parts) else None,
    )


def _is_one(outputs: Outputs) -> bool:
    return set(outputs.dataset.tolist()) == {ONE_DATASET}


def _described(outputs: Outputs) -> str:
    pairs = ", ".join(f"{kind} against {truth}" for kind, truth in outputs.held_against.items())
    return f"{outputs.path.name} has {pairs}"


def _harmonic_mean(visual: Floats, reasoning: Floats) -> Floats:
    """`vlcal.scores.HarmonicMean` on arrays, so that reading a file does not load torch."""
    total = visual + reasoning
    return 2 * visual * reasoning / np.where(total == 0, 1, total)
