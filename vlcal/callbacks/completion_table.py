"""A few completions to read, with their images, while training runs."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer

from vlcal.callbacks.completions import completion_markdown, completion_rows
from vlcal.callbacks.event_files import tensorboards
from vlcal.callbacks.observer import Observer, training_batches
from vlcal.callbacks.plots import completion_figure, rendered
from vlcal.errors import UserError
from vlcal.types import Assessment


class CompletionTable(Observer):
    """Writes a few completions to TensorBoard: image, question, response, parsed confidences, verdict, reward terms.

    Once as a picture, with the image beside the text, and once as a table to copy from. Of a batch, prompts evenly
    spread over it are shown, one completion each; of an evaluation its first batch, so that the same prompts return.

    Args:
        every: Training batches from one table to the next.
        rows: Completions in a table.
    """

    def __init__(self, every: int = 50, rows: int = 4) -> None:
        for name, value in (("every", every), ("rows", rows)):
            if value < 1:
                raise UserError(f"`{name}` must be at least 1; got {value}.")
        self.every = every
        self.rows = rows
        self._shown = False

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = False

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = False

    def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
        if stage == "train" and training_batches(trainer) % self.every == 0:
            self._write(trainer, assessment, stage)
        elif stage in ("val", "test") and not self._shown:
            self._shown = True
            self._write(trainer, assessment, stage)

    def _write(self, trainer: Trainer, assessment: Assessment, stage: str) -> None:
        writers = tensorboards(trainer)
        if not writers:
            return
        prompts = len(assessment.prompts)
        shown = min(self.rows, prompts)
        chosen = [number * prompts // shown for number in range(shown)]
        rows = completion_rows(assessment.select(chosen))[:: assessment.rollouts.group_size]
        images = [next(iter(assessment.prompts.images[prompt]), None) for prompt in chosen]
        pixels, text, step = (
            rendered(completion_figure(rows, images)),
            completion_markdown(rows),
            training_batches(trainer),
        )
        for writer in writers:
            writer.add_image(f"{stage}/completions/pictured", pixels, step, dataformats="HWC")
            writer.add_text(f"{stage}/completions/table", text, step)
