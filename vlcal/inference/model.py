"""Questions put to a trained model, and its answers with their confidences."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vlcal.data.images import ImageSize, image_tensor
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.policy import Policy
from vlcal.rewards import ZeroReward
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import SamplingPlan, draw_seed
from vlcal.types import PromptBatch, Responses, Rollouts
from vlcal.verifiers import NoVerifier

Picture = Image.Image | Path | str | Tensor
"""An image of Pillow, a path, or a tensor (3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Question:
    """A question about images.

    Args:
        text: The bare question; the grammar of the model adds what it asks for.
        images: In order.
        folder: What their paths are relative to.
    """

    text: str
    images: tuple[Picture, ...]
    folder: Path = Path()


@dataclass(frozen=True)
class Reply:
    """What a model answers to one question.

    Args:
        answer: The content of its box; None where there is none.
        response: The whole text.
        visual: Stated confidence in what it saw, in [0, 1]; NaN where absent.
        reasoning: Stated confidence in what it concluded, in [0, 1]; NaN where absent.
        overall: Both joined as in training; NaN where either is absent.
        parsed: True where the text matches the whole grammar.
        truncated: True where the text hit the length limit.
        certainty_score: Measured visual certainty, on no fixed scale: higher is surer, comparable between questions to
            one model; None where it was not asked for, NaN where the response has no vision part.
    """

    answer: str | None
    response: str
    visual: float
    reasoning: float
    overall: float
    parsed: bool
    truncated: bool
    certainty_score: float | None = None


class CalibratedModel:
    """A trained policy with the form its responses have, asked as it was validated.

    The same question about the same image gets the same reply: what is sampled is seeded by the questions of a batch.

    Args:
        policy: On the device where it is to run.
        pipeline: Of its training: how responses are read, and how visual certainty is measured.
        plan: How a response is sampled.
        image_size: Bounds on the pixels of an image, as in training.
    """

    @fresh_defaults
    def __init__(
        self, policy: Policy, pipeline: Pipeline, plan: SamplingPlan, image_size: ImageSize = ImageSize()
    ) -> None:
        reader = pipeline.reader
        self.policy = policy
        self.plan = replace(plan, group_size=1)  # a question has one reply, however many responses a validation samples
        self.image_size = image_size
        # There is no right answer to check against, and nothing is rewarded.
        self.pipeline = Pipeline(
            ResponseReader(reader.grammar, NoVerifier(), overall=reader.overall),
            {"none": ZeroReward()},
            perturbation=pipeline.perturbation,
            certainty=pipeline.certainty,
            copies=pipeline.copies,
        )

    def ask(self, image: Picture | Sequence[Picture], question: str) -> Reply:
        """The reply to a question about an image, or about several.

        Raises:
            UserError: If the question is empty or an image cannot be read.
        """
        return self.ask_all([_question(image, question)])[0]

    def measure(self, image: Picture | Sequence[Picture], question: str) -> Reply:
        """The reply of `ask`, with its visual certainty measured, which takes a pass without and one with perturbation.

        Raises:
            UserError: If the question is empty or an image cannot be read.
        """
        return self.measure_all([_question(image, question)])[0]

    @torch.no_grad()
    def ask_all(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies to questions that go through the model together.

        Raises:
            UserError: If a question is empty or an image cannot be read.
        """
        prompts = self.prompts(questions)
        encoded = self.policy.encode(prompts, self.pipeline.reader.grammar)
        seeds = [draw_seed(self.plan.seed, "rollout", name) for name in prompts.ids]  # as `Pipeline.assess` does
        rollouts = self.plan.engine.sample(self.policy, encoded, self.plan.group_size, seeds)
        return _replies(rollouts, self.pipeline.reader.read(self.policy, prompts, rollouts), [None] * len(prompts))

    def measure_all(self, questions: Sequence[Question]) -> list[Reply]:
        """The replies of `ask_all`, with their visual certainty measured.

        Raises:
            UserError: If a question is empty or an image cannot be read.
        """
        prompts = self.prompts(questions)
        with self.pipeline.preserve_state():
            chunked = ChunkedPrompts(self.policy, prompts, self.pipeline.reader.grammar)
            assessed = self.pipeline.assess(self.policy, chunked, self.plan)
        return _replies(assessed.rollouts, assessed.responses, assessed.certainty.score.tolist())

    def prompts(self, questions: Sequence[Question]) -> PromptBatch:
        """Questions as the policy is given them, their images read and scaled.

        Raises:
            UserError: If a question is empty or an image cannot be read.
        """
        empty = [number for number, one in enumerate(questions, 1) if not one.text.strip()]
        if empty or not questions:
            raise UserError(f"`question` must be a text; {f'number {empty[0]} is empty' if empty else 'got none'}.")
        texts, count = tuple(one.text for one in questions), len(questions)
        return PromptBatch(
            ids=texts,
            images=tuple(tuple(self._pixels(image, one.folder) for image in one.images) for one in questions),
            questions=texts,
            targets=("",) * count,
            extras=({},) * count,
        )

    def _pixels(self, image: Picture, folder: Path) -> Float[Tensor, "3 H W"]:
        if isinstance(image, Path):  # named by the user, who may name any file
            return image_tensor(image.name, (folder / image).parent, self.image_size)
        if not isinstance(image, Tensor):
            return image_tensor(image, folder, self.image_size)
        if image.ndim != 3 or len(image) != 3 or not image.is_floating_point() or image.min() < 0 or image.max() > 1:
            raise UserError(
                f"`image` as a tensor must be (3, height, width) in [0, 1]; got {tuple(image.shape)} of {image.dtype}. "
                "Divide levels of 0 to 255 by 255."
            )
        return image


def _question(image: Picture | Sequence[Picture], question: str) -> Question:
    several = isinstance(image, Sequence) and not isinstance(image, str)
    images: tuple[Picture, ...] = tuple(image) if several else (image,)  # type: ignore[arg-type,assignment]  # as just checked
    return Question(question, tuple(_file_or_content(one) for one in images))


def _file_or_content(image: Picture) -> Picture:
    """The path of a file that the user names by a text; anything else as it is."""
    with suppress(OSError, ValueError):  # a text that no file system takes for a name, as base64 may be
        if isinstance(image, str) and Path(image).is_file():
            return Path(image)
    return image


def _replies(rollouts: Rollouts, said: Responses, scores: Sequence[float | None]) -> list[Reply]:
    return [
        Reply(
            answer=said.answers[row],
            response=rollouts.texts[row],
            # float32 levels such as 0.7 would read 0.699999988
            visual=round(float(said.visual[row]), 6),
            reasoning=round(float(said.reasoning[row]), 6),
            overall=round(float(said.overall[row]), 6),
            parsed=bool(said.well_formed[row]),
            truncated=bool(rollouts.truncated[row]),
            certainty_score=score,
        )
        for row, score in enumerate(scores)
    ]
