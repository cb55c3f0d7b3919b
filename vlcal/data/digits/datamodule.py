"""The digits world as Lightning takes it: prompts to learn from and to be judged on, and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from vlcal.data.digits.glyphs import load_glyphs
from vlcal.data.digits.scene import Scene, draw_scene
from vlcal.data.resumable import TableOrder, resumable_loader
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.text import Grammar
from vlcal.training.sampling import draw_seed
from vlcal.types import DemonstrationBatch, PromptBatch

DIGITS = 3
Sample = tuple[str, Scene]  # a stable name and what it names


class DigitsScenes(Dataset[Sample]):
    """Endless scenes, drawn as they are asked for: index and seed say all about each.

    Args:
        split: train or test; they share no scan of a digit.
        scenes: How many there are.
        hardness: Range of the spoiling strength of each scene by index.
        seed: Of all scenes.
    """

    def __init__(self, split: str, scenes: int, hardness: Callable[[int], tuple[float, float]], seed: int) -> None:
        if split not in ("train", "test"):
            raise UserError(f"`split` must be train or test; got {split!r}.")
        if scenes < 1:
            raise UserError(
                f"`scenes`, which is `steps` times `batch_size` or `held_out`, must be at least 1, or the dataset is "
                f"empty; got {scenes}."
            )
        self.split = split
        self.scenes = scenes
        self.hardness = hardness
        self.seed = seed

    def __len__(self) -> int:
        return self.scenes

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.scenes:
            raise IndexError(index)
        name = f"{self.split}-{self.seed}-{index}"
        rng = torch.Generator().manual_seed(draw_seed(self.seed, "scene", self.split, str(index)))
        return name, draw_scene(load_glyphs(held_out=self.split == "test"), DIGITS, self.hardness(index), rng)


def prompt_batch(named: Sequence[Sample]) -> PromptBatch:
    """Scenes as prompts; what the world knows goes into the extras."""
    return PromptBatch(
        ids=tuple(name for name, _ in named),
        images=tuple((scene.image,) for _, scene in named),
        questions=tuple(scene.question.text for _, scene in named),
        targets=tuple(scene.target for _, scene in named),
        extras=tuple(
            {
                "reading": scene.reading,
                "question": scene.question,
                "spoil": scene.spoil,
                "strengths": scene.strengths,
                "clearness": 1 - max(scene.strengths),
            }
            for _, scene in named
        ),
    )


class DigitsPrompts(lightning.LightningDataModule):
    """Questions about spoiled digits.

    Args:
        steps: Training batches in all.
        batch_size: Prompts a training step.
        held_out: Scenes of unseen digits to validate, test and predict on.
        hardness: Range of the spoiling strength, each in [0, 1].
        seed: Of the training scenes; those of unseen digits never change.
    """

    def __init__(
        self,
        steps: int = 100,
        batch_size: int = 64,
        held_out: int = 500,
        hardness: tuple[float, float] = (0.0, 1.0),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= hardness[0] <= hardness[1] <= 1:
            raise UserError(f"`hardness` must be an increasing range inside [0, 1]; got {hardness}.")
        self.batch_size = batch_size
        self.train = DigitsScenes("train", steps * batch_size, lambda _: hardness, seed)
        self.unseen = DigitsScenes("test", held_out, lambda _: hardness, seed=0)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Fresh scenes in order: they are random already."""
        return resumable_loader(self.train, TableOrder(len(self.train)), self.batch_size, prompt_batch)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The scenes of unseen digits."""
        return DataLoader(self.unseen, batch_size=256, collate_fn=prompt_batch)

    def test_dataloader(self) -> DataLoader[Sample]:
        """The scenes of unseen digits."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Sample]:
        """The scenes of unseen digits."""
        return self.val_dataloader()


class DigitsDemonstrations(lightning.LightningDataModule):
    """Demonstrated responses about spoiled digits, for warm-up.

    A response describes truthfully how clear each digit is, but both of its confidences are drawn evenly at random: it
    teaches to state one, and nothing about which. Reading from nothing is learned from clear scenes first, then
    hardened: with hard scenes from the start it is not learned at all.

    Args:
        steps: Training batches in all.
        batch_size: Scenes a step.
        grammar: The form of a response.
        clear_share: Share of the steps, from the start, with unspoiled scenes.
        hardening_share: Share of the steps behind those over which the spoiling range grows to its full width.
        seed: Of scenes and stated levels.
    """

    @fresh_defaults
    def __init__(
        self,
        steps: int = 320,
        batch_size: int = 64,
        grammar: Grammar = Grammar(),
        clear_share: float = 0.35,
        hardening_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.grammar = grammar
        self.batch_size = batch_size
        self.seed = seed
        self.scenes = steps * batch_size
        self.clear_until = clear_share * self.scenes
        self.hardening = max(hardening_share * self.scenes, 1.0)
        self.train = DigitsScenes("train", self.scenes, self.hardness, seed)
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
        return DemonstrationBatch(prompt_batch(named), tuple(self.response(name, scene) for name, scene in named))

    def response(self, name: str, scene: Scene) -> str:
        """A right reading, right reasoning, an honest analysis, and two confidences that mean nothing."""
        rng = torch.Generator().manual_seed(draw_seed(self.seed, "levels", name))
        visual, reasoning = torch.randint(len(self.grammar.levels), (2,), generator=rng).tolist()
        return self.grammar.render(
            vision="".join(map(str, scene.reading)),
            reasoning=scene.question.reason(scene.reading),
            answer=scene.target,
            analysis=" ".join(scene.clarity),
            visual_level=self.grammar.levels[visual],
            reasoning_level=self.grammar.levels[reasoning],
        )

    def corpus(self, scenes: int = 500) -> list[str]:
        """Texts of this world, for a tokenizer to learn its words from."""
        drawn = DigitsScenes("train", scenes, lambda _: (0.0, 1.0), seed=2)
        named = [drawn[index] for index in range(scenes)]
        return [text for name, scene in named for text in (scene.question.text, self.response(name, scene))]
