"""The digits world as Lightning takes it: prompts to learn from and to be judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from vlcal.data.digits.glyphs import load_glyphs
from vlcal.data.digits.scene import Scene, draw_scene
from vlcal.data.resumable import TableOrder, resumable_loader
from vlcal.errors import UserError
from vlcal.training.sampling import draw_seed
from vlcal.types import PromptBatch

DIGITS = 3
Sample = tuple[str, Scene]  # a stable name and what it names


class DigitsScenes(Dataset[Sample]):
    """Endless scenes, drawn as they are asked for: index and seed say all about each.

    Args:
        split: train or test; they share no scan of a digit.
        scenes: How many there are.
        hardness: Range of the spoiling strength of each scene by index.
        seed: Of all scenes.
        in_words: How many of them, from the start, are put in words, without an image.
    """

    def __init__(
        self, split: str, scenes: int, hardness: Callable[[int], tuple[float, float]], seed: int, in_words: int = 0
    ) -> None:
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
        self.in_words = in_words

    def __len__(self) -> int:
        return self.scenes

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.scenes:
            raise IndexError(index)
        name = f"{self.split}-{self.seed}-{index}"
        rng = torch.Generator().manual_seed(draw_seed(self.seed, "scene", self.split, str(index)))
        scene = draw_scene(load_glyphs(held_out=self.split == "test"), DIGITS, self.hardness(index), rng)
        return name, replace(scene, image=None) if index < self.in_words else scene


def prompt_batch(named: Sequence[Sample]) -> PromptBatch:
    """Scenes as prompts; what the world knows goes into the extras."""
    return PromptBatch(
        ids=tuple(name for name, _ in named),
        images=tuple(() if scene.image is None else (scene.image,) for _, scene in named),
        questions=tuple(scene.asked for _, scene in named),
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
