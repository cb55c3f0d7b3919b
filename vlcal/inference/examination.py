"""One response taken apart: its parts, how certain each vision token is, and the expected confidences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from vlcal.errors import UserError
from vlcal.functional.certainty import visual_score
from vlcal.inference.model import CalibratedModel, Question
from vlcal.policy.engines.base import written
from vlcal.probes.levels import levels_at, stated_places
from vlcal.probes.study import Study
from vlcal.text import parse
from vlcal.text.grammar import LAYOUT
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.starts import Asked, FreeStarts, Starts
from vlcal.types import Assessment, Rollouts


@dataclass(frozen=True)
class Piece:
    """A run of characters of a response.

    Args:
        text: The characters.
        part: Name of the part that they belong to, such as vision or answer; None for tags and what is between parts.
        certainty: Of a vision token, in [0, 1]. D / (D + H) with its KL D between clean and perturbed image and its
            entropy H: the share of what the image says in that and what stays open. The probability of the token where
            the training perturbs no image. None elsewhere, and without an image.
    """

    text: str
    part: str | None
    certainty: float | None


@dataclass(frozen=True)
class Examination:
    """A response with what is measured on it.

    Args:
        pieces: The whole response, in order.
        reading: What it says that it sees; None where it has no vision part.
        answer: The content of its box; None where there is none.
        parsed: True where the text matches the whole grammar.
        stated: Visual, reasoning and overall confidence as stated, in [0, 1]; None where absent.
        expected: The same as expectations over all levels at temperature 1, which sampling does not move.
    """

    pieces: tuple[Piece, ...]
    reading: str | None
    answer: str | None
    parsed: bool
    stated: Mapping[str, float | None]
    expected: Mapping[str, float | None]


class GivenReading(Starts):
    """Has every completion begin with a vision part that is given, so that the policy goes on behind it.

    Args:
        reading: The content of the vision part.
    """

    def __init__(self, reading: str) -> None:
        found = [tag for tag, _ in LAYOUT if len(tag) > 1 and tag in reading]
        if found or not reading.strip():
            came = f"one with {found[0]}" if found else "an empty one"
            raise UserError(f"`reading` must be a text without the tags of a response; got {came}.")
        self.reading = reading

    def check(self, group_size: int) -> None:
        """Every size is right."""

    def sample(self, asked: Asked, group_size: int) -> Rollouts:
        """Completions behind the reading, drawn by the same random numbers as those without it."""
        start = asked.policy.response_tokens(asked.grammar.start(self.reading))
        starts = [start] * (len(asked.encoded) * group_size)
        return asked.engine.sample(asked.policy, asked.encoded, group_size, asked.seeds("rollout"), starts)


@torch.no_grad()
def examine(model: CalibratedModel, question: Question, reading: str | None = None) -> Examination:
    """The response to a question, taken apart.

    Args:
        model: The model that is asked.
        question: The question and its images.
        reading: What the response is made to say that it sees; None leaves it to the model.

    Raises:
        UserError: If the question is empty, an image cannot be read, or the reading cannot stand in a response.
    """
    policy, pipeline = model.policy, model.pipeline
    plan = replace(model.plan, starts=FreeStarts() if reading is None else GivenReading(reading))
    chunked = ChunkedPrompts(policy, model.prompts([question]), pipeline.reader.grammar)
    with pipeline.preserve_state():
        assessment = pipeline.assess(policy, chunked, plan)
    study = Study(policy, pipeline, plan.engine, assessment, chunked.encoded([0]), plan.seed)
    said, responses = parse(assessment.rollouts.texts[0], study.grammar), assessment.responses
    expected = levels_at(study, stated_places(study)).expected(study)
    stated = {"visual": responses.visual, "reasoning": responses.reasoning, "overall": responses.overall}
    return Examination(
        pieces=_pieces(model, assessment),
        reading=said.vision,
        answer=said.answer,
        parsed=said.well_formed,
        stated={name: _known(values) for name, values in stated.items()},
        expected={name: _known(values) for name, values in expected.items()},
    )


def _pieces(model: CalibratedModel, assessment: Assessment) -> tuple[Piece, ...]:
    """The response cut at its parts, and its vision part at its tokens."""
    rollouts, evidence = assessment.rollouts, assessment.evidence
    text, offsets = written(model.policy, rollouts.tokens[0], rollouts.mask[0])
    spans = {name: span for name, span in parse(text, model.pipeline.reader.grammar).spans.items() if span is not None}
    vision = spans.get("vision", (0, 0))
    kl = evidence.visual_kl[0]
    certainty = visual_score(kl, evidence.entropy[0]).sigmoid()
    if model.pipeline.perturbation.strength == 0:
        certainty = evidence.plain_log_probs[0].exp().where(~kl.isnan(), kl)
    tokens = [
        (max(start, vision[0]), min(end, vision[1]), _known(certainty[place : place + 1]))
        for place, (start, end) in enumerate(offsets)
        if start < vision[1] and end > vision[0]
    ]
    cuts = sorted({0, len(text), *(end for span in spans.values() for end in span), *(end for _, end, _ in tokens)})
    pieces = []
    for start, end in pairwise(cuts):
        part = next((name for name, span in spans.items() if span[0] <= start < span[1]), None)
        measured = next((value for first, last, value in tokens if first <= start < last), None)
        pieces.append(Piece(text[start:end], part, measured))
    return tuple(pieces)


def _known(values: torch.Tensor) -> float | None:
    """The first value; None where it is NaN, which JSON cannot say."""
    value = values[0].item()
    return None if math.isnan(value) else round(value, 4)
