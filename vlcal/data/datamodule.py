"""Questions about images as Lightning takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import lightning
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from vlcal.data.bad_rows import BadRows, RefuseBadRows
from vlcal.data.images import ImageSize
from vlcal.data.questions import PredictionCheck, Questions, RunCheck
from vlcal.data.records import Record, prompts_of
from vlcal.data.resumable import SeededOrder, leave_the_end_to_the_run, resumable_loader
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


def loader(
    rows: Dataset[Record],
    order: Sampler[int],
    batch_size: int,
    workers: int,
    collate: Callable[[Sequence[Record]], Any],
) -> DataLoader[Any]:
    """Batches of rows, their images decoded by the workers."""
    return DataLoader(
        rows,
        batch_size=batch_size,
        sampler=order,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=leave_the_end_to_the_run,
    )


def loading_workers(batch_size: int, workers: int) -> int:
    """The processes that decode images: as many as are asked for, and no more than this machine has processors.

    Args:
        batch_size: Prompts a step.
        workers: As asked for.

    Raises:
        UserError: If no loader takes them.
    """
    if batch_size < 1:
        raise UserError(f"`batch_size` must be at least 1; got {batch_size}.")
    if workers < 0:
        raise UserError(f"`workers` must be 0 or more processes; got {workers}.")
    # More of them would wait for each other, and torch warns of them.
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(workers, processors)


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
        workers: Processes that decode images, at most one for each processor; 0 decodes in the main one.
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
        self.sources = {"train": train, "validation": validation}
        self.batch_size = batch_size
        self.workers = loading_workers(batch_size, workers)
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
            self._read[name] = source.questions(self.bad_rows, self.check())
        return self._read[name]

    def check(self) -> RunCheck:
        """What the run asks of every row."""
        return run_check(self, self.image_size)

    def collate(self) -> Callable[[Sequence[Record]], Any]:
        """Makes a batch of rows, in whichever process."""
        return partial(prompts_of, size=self.image_size)

    def train_dataloader(self) -> DataLoader[Any]:
        """The training rows in an order drawn from seed and epoch."""
        found = self.questions("train")
        order = SeededOrder(len(found), self.seed)
        return resumable_loader(found, order, self.batch_size, self.collate(), self.workers)

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
        return loader(found, SequentialSampler(found), self.batch_size, self.workers, self.collate())
