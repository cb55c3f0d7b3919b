"""Demonstrated responses about digits: how to read, to conclude, and to check a reading that was stated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import lightning
import torch
from torch.utils.data import DataLoader

from vlcal.data.digits.datamodule import DigitsScenes, Sample, prompt_batch
from vlcal.data.digits.scene import Scene
from vlcal.data.resumable import TableOrder, resumable_loader
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.text import Grammar
from vlcal.text.grammar import OPENING
from vlcal.training.sampling import draw_seed
from vlcal.types import DemonstrationBatch

RANDOM_SHARE = 0.5  # of the digits that a vision part states
SAME, OTHER = "=", "#"  # what the analysis writes behind a digit: as stated, or not
NUMBER = "number"  # what a verdict on all digits begins with


@dataclass(frozen=True)
class Demonstration:
    """A response to imitate.

    Args:
        text: All of it.
        given: The characters that are shown and not to be imitated.
    """

    text: str
    given: tuple[tuple[int, int], ...]


class DigitsDemonstrations(lightning.LightningDataModule):
    """Demonstrated responses about spoiled digits, for pretraining.

    Half of the digits in the vision part are drawn at random, whatever the image shows, and are not to be imitated. The
    reasoning follows from what is stated. The analysis reads each digit anew: how clear it is, the digit, and whether
    that is the one stated; then whether all of them are. Each digit is learned in one place only: in the vision part
    where the true one stands there, in the analysis where the vision part is random. So the second reading looks at the
    image and never copies the first: given the image, what was stated says nothing of the truth.

    Both confidences are drawn evenly at random: they teach to state one, and nothing about which.

    Four stages: the number in words, without an image, which teaches the form, arithmetic and comparison; clear scenes,
    since reading from nothing is not learned from spoiled ones; spoiling that grows; its full range.

    Args:
        steps: Training batches in all.
        batch_size: Scenes a step.
        grammar: The form of a response.
        stages: Shares of the steps in words, with unspoiled scenes, and over which the spoiling grows, in this order.
        verdict_share: Share of the analyses that end in a verdict on the number as a whole.
        seed: Of scenes, random digits and stated levels.
    """

    @fresh_defaults
    def __init__(
        self,
        steps: int = 320,
        batch_size: int = 64,
        grammar: Grammar = Grammar(),
        stages: tuple[float, float, float] = (0.1, 0.25, 0.2),
        verdict_share: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.grammar = grammar
        self.batch_size = batch_size
        self.verdict_share = verdict_share
        self.seed = seed
        if min(stages) < 0 or sum(stages) > 1:
            raise UserError(f"`stages` must be three shares of the steps, together at most 1; got {tuple(stages)}.")
        words, clear, growing = stages
        in_words = round(words * steps) * batch_size
        self.clear_until = in_words + clear * steps * batch_size
        self.hardening = max(growing * steps * batch_size, 1.0)
        self.train = DigitsScenes("train", steps * batch_size, self.hardness, seed, in_words)
        self.unseen = DigitsScenes("test", 256, lambda _: (0.0, 1.0), seed=1)

    def hardness(self, index: int) -> tuple[float, float]:
        """The spoiling range of a training scene."""
        return 0.0, min(max(0.0, (index - self.clear_until) / self.hardening), 1.0)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Fresh scenes, easy ones first."""
        return resumable_loader(self.train, TableOrder(len(self.train)), self.batch_size, self.demonstrate)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole responses about unseen digits."""
        return DataLoader(self.unseen, batch_size=256, collate_fn=self.demonstrate)

    def demonstrate(self, named: Sequence[Sample]) -> DemonstrationBatch:
        """Prompts with the responses to imitate."""
        shown = [self.demonstration(name, scene) for name, scene in named]
        return DemonstrationBatch(prompt_batch(named), tuple(d.text for d in shown), tuple(d.given for d in shown))

    def demonstration(self, name: str, scene: Scene) -> Demonstration:
        """A reading of which some digits are random, what follows from it, and a second look at the image."""
        rng = torch.Generator().manual_seed(draw_seed(self.seed, "demonstration", name))
        visual, reasoning = torch.randint(len(self.grammar.levels), (2,), generator=rng).tolist()
        random = (torch.rand(len(scene.reading), generator=rng) < RANDOM_SHARE).tolist()
        drawn = torch.randint(10, (len(scene.reading),), generator=rng).tolist()
        stated = [
            digit if is_random else true for digit, is_random, true in zip(drawn, random, scene.reading, strict=True)
        ]
        checks = [
            f"{word}{true}{SAME if true == said else OTHER}"
            for word, true, said in zip(scene.clarity, scene.reading, stated, strict=True)
        ]
        agreed = SAME if stated == list(scene.reading) else OTHER
        verdict = [f"{NUMBER}{agreed}"] if torch.rand((), generator=rng) < self.verdict_share else []
        text = self.grammar.render(
            vision="".join(map(str, stated)),
            reasoning=scene.question.reason(stated),
            answer=scene.question.answer(stated),
            analysis=" ".join(checks + verdict),
            visual_level=self.grammar.levels[visual],
            reasoning_level=self.grammar.levels[reasoning],
        )
        return Demonstration(text, tuple(self._given(text, random, checks)))

    def _given(self, text: str, random: Sequence[bool], checks: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Where each digit is given: in the vision part where it is random, in the analysis where it is not."""
        vision, check = text.index(OPENING["vision"]) + len(OPENING["vision"]), text.index(OPENING["analysis"])
        check += len(OPENING["analysis"])
        for place, (is_random, written) in enumerate(zip(random, checks, strict=True)):
            digit = vision + place if is_random else check + len(written) - 2
            yield digit, digit + 1
            check += len(written) + 1

    def corpus(self, scenes: int = 500) -> list[str]:
        """Texts of this world, for a tokenizer to learn its words from."""
        drawn = DigitsScenes("train", scenes, lambda _: (0.0, 1.0), seed=2, in_words=scenes // 2)
        named = [drawn[index] for index in range(scenes)]
        return [text for name, scene in named for text in (scene.asked, self.demonstration(name, scene).text)]
