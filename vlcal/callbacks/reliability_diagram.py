"""Reliability diagrams of every evaluation."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vlcal.callbacks.observer import Observer, tensorboards, training_batches
from vlcal.evaluation import Outcomes, reliability_diagrams, rendered
from vlcal.types import Experience


class ReliabilityDiagram(Observer):
    """Draws the overall, the visual and the reasoning confidence, each against its own truth, after every evaluation.

    A confidence whose truth nobody knows is left out. The figure goes to TensorBoard, where that is the logger.

    Args:
        folder: Where to write each figure as PNG too, named after stage and step; None writes none.
        bins: Number of bins of equal width over [0, 1].
    """

    def __init__(self, folder: Path | None = None, bins: int = 10) -> None:
        if bins < 1:
            raise ValueError(f"`bins` must be at least 1; got {bins}.")
        self.folder = folder
        self.bins = bins
        self._judged: list[Outcomes] = []

    def observe(self, trainer: Trainer, pl_module: LightningModule, experience: Experience, stage: str) -> None:
        if stage in ("val", "test"):
            self._judged.append(Outcomes.of(experience))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._judged.clear()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._judged.clear()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "test")

    def _draw(self, trainer: Trainer, stage: str) -> None:
        writers = tensorboards(trainer)
        if not self._judged or not trainer.is_global_zero or not (writers or self.folder):
            return
        panels = known_panels(Outcomes.join(self._judged))
        self._judged.clear()
        if not panels:
            return
        pixels, step = rendered(reliability_diagrams(panels, self.bins)), training_batches(trainer)
        for writer in writers:
            writer.add_image(f"{stage}/calibration/reliability", pixels, step, dataformats="HWC")
        if self.folder is not None:
            from matplotlib.image import imsave

            self.folder.mkdir(parents=True, exist_ok=True)
            imsave(self.folder / f"{stage}-{step:06d}.png", pixels)


def known_panels(outcomes: Outcomes) -> dict[str, tuple[Tensor, Tensor]]:
    """Each confidence with its own truth, where anyone stated the one and knows the other."""
    panels = {
        "overall": (outcomes.overall, outcomes.correct),
        "visual": (outcomes.visual, outcomes.read_right),
        "reasoning": (outcomes.reasoning, outcomes.reasoned_right),
    }
    return {
        name: (confidence, truth)
        for name, (confidence, truth) in panels.items()
        if not (confidence.isnan().all() or truth.isnan().all())
    }
