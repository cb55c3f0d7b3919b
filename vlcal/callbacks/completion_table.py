"""A few completions to read, with their images, while training runs."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer

from vlcal.callbacks.observer import Observer, tensorboards, training_batches
from vlcal.evaluation import completion_figure, rendered
from vlcal.evaluation.completions import completion_markdown, completion_rows
from vlcal.types import Experience


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
                raise ValueError(f"`{name}` must be at least 1; got {value}.")
        self.every = every
        self.rows = rows
        self._shown = False

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = False

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = False

    def observe(self, trainer: Trainer, pl_module: LightningModule, experience: Experience, stage: str) -> None:
        if stage == "train" and training_batches(trainer) % self.every == 0:
            self._write(trainer, experience, stage)
        elif stage in ("val", "test") and not self._shown:
            self._shown = True
            self._write(trainer, experience, stage)

    def _write(self, trainer: Trainer, experience: Experience, stage: str) -> None:
        writers = tensorboards(trainer)
        if not writers:
            return
        prompts = len(experience.prompts)
        shown = min(self.rows, prompts)
        chosen = [number * prompts // shown for number in range(shown)]
        rows = completion_rows(experience.select(chosen))[:: experience.rollouts.group_size]
        images = [next(iter(experience.prompts.images[prompt]), None) for prompt in chosen]
        pixels, text, step = (
            rendered(completion_figure(rows, images)),
            completion_markdown(rows),
            training_batches(trainer),
        )
        for writer in writers:
            writer.add_image(f"{stage}/completions/pictured", pixels, step, dataformats="HWC")
            writer.add_text(f"{stage}/completions/table", text, step)
