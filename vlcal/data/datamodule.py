"""Questions about images as Lightning takes them."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol, runtime_checkable

import lightning
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from vlcal.data.bad_rows import BadRows, RefuseBadRows
from vlcal.data.images import ImageSize
from vlcal.data.questions import PredictionCheck, Questions, RunCheck
from vlcal.data.records import Record, prompts_of
from vlcal.data.resumable import SeededOrder, resumable_loader
from vlcal.data.sources import Source
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.training.reader import ResponseReader


@runtime_checkable
class Judge(Protocol):
    """A module that reads answers and judges them."""

    @property
    def reader(self) -> ResponseReader:
        """Has the verifier of the run."""


def prompt_loader(
    questions: Dataset[Record], order: Sampler[int], batch_size: int, workers: int, image_size: ImageSize
) -> DataLoader[Any]:
    """Batches of prompts, their images decoded by the workers."""
    return DataLoader(
        questions,
        batch_size=batch_size,
        sampler=order,
        collate_fn=partial(prompts_of, size=image_size),
        num_workers=workers,
    )


def checked_loading(batch_size: int, workers: int) -> None:
    """Refuse sizes that no loader takes.

    Raises:
        UserError: If there are any.
    """
    if batch_size < 1:
        raise UserError(f"`batch_size` must be at least 1; got {batch_size}.")
    if workers < 0:
        raise UserError(f"`workers` must be 0 or more processes; got {workers}.")


def run_check(data: lightning.LightningDataModule, image_size: ImageSize) -> RunCheck:
    """What the run that a data module is read for asks of every record; outside a run no verifier is known."""
    module = data.trainer and data.trainer.lightning_module
    verifier = module.reader.verifier if isinstance(module, Judge) else None
    predicts = data.trainer is not None and data.trainer.state.fn == TrainerFn.PREDICTING
    return (PredictionCheck if predicts else RunCheck)(image_size, verifier)


class VisionQuestions(lightning.LightningDataModule):
    """Questions about images from files or the hub; every row is checked, and every image found, before any is used.

    Args:
        train: What to learn from.
        validation: What to validate, test and predict on.
        batch_size: Prompts a step.
        workers: Processes that decode images; 0 decodes in the main one.
        seed: Of the order of the training rows.
        image_size: Bounds on the pixels of an image.
        bad_rows: What happens to rows that are not what they should be.
    """

    @fresh_defaults
    def __init__(
        self,
        train: Source | None = None,
        validation: Source | None = None,
        batch_size: int = 8,
        workers: int = 0,
        seed: int = 0,
        image_size: ImageSize = ImageSize(),
        bad_rows: BadRows = RefuseBadRows(),
    ) -> None:
        super().__init__()
        checked_loading(batch_size, workers)
        self.sources = {"train": train, "validation": validation}
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.image_size = image_size
        self.bad_rows = bad_rows
        self._read: dict[str, Questions] = {}

    def setup(self, stage: str) -> None:
        """Check every row that the command needs, before the policy is loaded."""
        names = ("train", "validation") if stage == "fit" else ("validation",)
        for name in names:
            if self.sources[name] is not None:
                self.questions(name)

    def questions(self, name: str) -> Questions:
        """The checked questions of `train` or `validation`; read once.

        Raises:
            UserError: If there is no such source, or bad rows are refused.
        """
        source = self.sources[name]
        if source is None:
            raise UserError(f"`{name}` must be a source of questions for this command; got none.")
        if name not in self._read:
            self._read[name] = source.questions(self.bad_rows, run_check(self, self.image_size))
        return self._read[name]

    def train_dataloader(self) -> DataLoader[Any]:
        """The training rows in an order drawn from seed and epoch."""
        found = self.questions("train")
        order = SeededOrder(len(found), self.seed)
        collate = partial(prompts_of, size=self.image_size)
        return resumable_loader(found, order, self.batch_size, collate, self.workers)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """The validation rows in the order of the table; no loader where a training run has none."""
        if (
            self.sources["validation"] is None
            and self.trainer is not None
            and self.trainer.state.fn == TrainerFn.FITTING
        ):
            return []
        return self._judged()

    def test_dataloader(self) -> DataLoader[Any]:
        """The validation rows in the order of the table."""
        return self._judged()

    def predict_dataloader(self) -> DataLoader[Any]:
        """The validation rows in the order of the table."""
        return self._judged()

    def _judged(self) -> DataLoader[Any]:
        found = self.questions("validation")
        return prompt_loader(found, SequentialSampler(found), self.batch_size, self.workers, self.image_size)
