"""What every observer shares: it is given the assessment of each step and changes nothing that is learned."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vlcal.errors import UserError
from vlcal.types import Assessment


class Observer(Callback):
    """Is given `outputs["assessment"]`, the responses of each step of training, validation, testing and prediction.

    Deleting an observer changes no weight: none of them draws from a global generator or holds a gradient. On several
    ranks each sees its own share of the data.
    """

    @abstractmethod
    def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
        """Take note of one step of a stage: train, val, test or predict."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not (isinstance(outputs, Mapping) and outputs.get("skipped")):
            self._hand_on(trainer, pl_module, outputs, "train")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking:
            self._hand_on(trainer, pl_module, outputs, "val")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._hand_on(trainer, pl_module, outputs, "test")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._hand_on(trainer, pl_module, outputs, "predict")

    @torch.no_grad()
    def _hand_on(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, stage: str) -> None:
        assessment = assessment_in(outputs)
        if assessment is None:
            raise UserError(
                f"`{type(self).__name__}` watches steps that hand on an `assessment`, as those of ReinforcementModule "
                f"do; a step of {type(pl_module).__name__} handed on none. Take it out of "
                "`trainer.callbacks` for this run."
            )
        self.observe(trainer, pl_module, assessment, stage)


def assessment_in(outputs: Any) -> Assessment | None:
    """The assessment that a step handed on, if it did."""
    assessment = outputs.get("assessment") if isinstance(outputs, Mapping) else None
    return assessment if isinstance(assessment, Assessment) else None


def training_batches(trainer: Trainer) -> int:
    """The place on the time axis where Lightning writes its own figures: batches learned from before this one."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped
