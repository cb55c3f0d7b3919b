"""Reliability diagrams of every evaluation."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningModule, Trainer

from vlcal.callbacks.event_files import tensorboards
from vlcal.callbacks.observer import Observer, training_batches
from vlcal.callbacks.plots import reliability_diagrams, rendered
from vlcal.evaluation.metrics import EqualWidth
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.metrics.training import Outcomes
from vlcal.files import write_whole
from vlcal.types import Assessment


class ReliabilityDiagram(Observer):
    """Draws the overall, the visual and the reasoning confidence, each against its own outcome, after every evaluation.

    A confidence without a known outcome is left out. The diagram goes to TensorBoard, where that is the logger.

    Args:
        folder: Where to write each diagram as PNG too, named after stage and step; None writes none.
        bins: Number of bins of equal width over [0, 1].
    """

    def __init__(self, folder: Path | None = None, bins: int = 10) -> None:
        self.folder = folder
        self.binning = EqualWidth(bins)
        self._evaluated: list[Outcomes] = []

    def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
        if stage in ("val", "test"):
            self._evaluated.append(Outcomes.of(assessment))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated.clear()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated.clear()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "test")

    def _draw(self, trainer: Trainer, stage: str) -> None:
        writers = tensorboards(trainer)
        if not self._evaluated or not trainer.is_global_zero or not (writers or self.folder):
            return
        panels = known_panels(Outcomes.join(self._evaluated))
        self._evaluated.clear()
        if not panels:
            return
        pixels, step = rendered(reliability_diagrams(panels, self.binning)), training_batches(trainer)
        for writer in writers:
            writer.add_image(f"{stage}/calibration/reliability", pixels, step, dataformats="HWC")
        if self.folder is not None:
            from matplotlib.image import imsave

            content = io.BytesIO()
            imsave(content, pixels, format="png")
            write_whole(self.folder / f"{stage}-{step:06d}.png", content.getvalue())


def known_panels(outcomes: Outcomes) -> dict[str, tuple[Floats, Floats]]:
    """Each confidence with its own outcome, where at least one response has the one and one the other."""
    return {kind: pair for kind, pair in outcomes.pairs().items() if not any(np.isnan(column).all() for column in pair)}
