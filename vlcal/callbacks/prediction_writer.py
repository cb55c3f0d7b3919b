"""What was answered, one JSON line per response, with the images beside it."""

from __future__ import annotations

import hashlib
import io
import json
import re
from itertools import count
from pathlib import Path

import numpy as np
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from vlcal.callbacks.completions import completion_rows, vision_tokens
from vlcal.callbacks.observer import Observer
from vlcal.errors import UserError
from vlcal.files import AtomicFile, write_whole
from vlcal.types import Assessment, PromptBatch

PREDICTIONS = "predictions"
_OWN_IMAGE = re.compile(r"[0-9a-f]{20}\.png")


class PredictionWriter(Observer):
    """Writes every response of an evaluation, with confidences, verdicts and rewards, as strict JSON lines.

    What is absent or unknown is null. The images of the prompts go as PNG into the folder `NAME.images` beside the
    file, equal ones once, and the rows name them relative to the file. The file appears when it is complete, in place
    of that of an earlier evaluation, whose other images go then. A prediction is written once and takes no file's
    place: it goes beside the evaluations, into predictions.jsonl or the first of predictions-2.jsonl, ... that is not
    there yet; where a run has several writers, into the file of the last, which must be new.

    Args:
        path: The file of an evaluation. On several ranks each writes its own share, from the second rank on as
            `NAME.1.jsonl`, ...
        image_side: Longest side of a kept image in pixels; a larger image is scaled down to it. 0 keeps no image.
    """

    def __init__(self, path: Path, image_side: int = 512) -> None:
        if image_side < 0:
            raise UserError(f"`image_side` must be at least 0 pixels, where 0 keeps no image; got {image_side}.")
        self.path = path
        self.image_side = image_side
        self._file: AtomicFile | None = None
        self._images: _ImageFolder | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._open(trainer)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to write a prediction over a file before anything is answered."""
        writers = _writers(trainer)
        if stage == "predict" and len(writers) > 1 and writers[-1] is self and self.path.exists():
            raise UserError(f"`path` must be new, since a prediction takes no file's place; {self.path} is there.")

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        *others, last = _writers(trainer)
        if last is not self:
            return
        own = self.path if others else self._new_name()
        self._open(trainer, trainer.strategy.broadcast(own))  # before any rank writes, and the same for all

    def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
        if self._file is None or self._images is None:
            return
        images = self._images.add(assessment.prompts)
        tokenizer = getattr(getattr(pl_module, "policy", None), "tokenizer", None)
        tokens = vision_tokens(assessment, tokenizer)
        for number, row in enumerate(completion_rows(assessment)):
            row |= {"images": images[number // assessment.rollouts.group_size], "vision_tokens": tokens[number]}
            self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._publish(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._publish(trainer)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._publish(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave nothing half-written behind."""
        if self._file is not None and self._images is not None:
            self._file.discard()
            self._file = None
            self._images.discard()

    def _new_name(self) -> Path:
        names = (f"{PREDICTIONS}{'' if number == 1 else f'-{number}'}.jsonl" for number in count(1))
        return next(path for path in map(self.path.with_name, names) if not path.exists())

    def _open(self, trainer: Trainer, path: Path | None = None) -> None:
        own = _of_rank(path or self.path, trainer.global_rank)
        self._file = AtomicFile(own)
        self._images = _ImageFolder(own.with_name(f"{own.stem}.images"), self.image_side)

    def _publish(self, trainer: Trainer) -> None:
        if self._file is not None and self._images is not None:
            self._file.publish()  # its images are there already
            self._file = None
            self._images.forget_others()


def _writers(trainer: Trainer) -> list[PredictionWriter]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [each for each in callbacks if isinstance(each, PredictionWriter)]


def _of_rank(path: Path, rank: int) -> Path:
    """The file of a rank."""
    return path if rank == 0 else path.with_suffix(f".{rank}{path.suffix}")


class _ImageFolder:
    """Images named by their content: an image that several prompts show, or an earlier evaluation kept, is one file."""

    def __init__(self, folder: Path, side: int) -> None:
        self._folder = folder
        self._side = side
        self._names: set[str] = set()
        self._added: list[Path] = []

    def add(self, prompts: PromptBatch) -> list[list[str]]:
        """For each prompt the paths of its images, relative to the folder that the file lies in."""
        if not self._side:
            return [[] for _ in prompts.images]
        return [[f"{self._folder.name}/{self._write(image)}" for image in images] for images in prompts.images]

    def forget_others(self) -> None:
        """Remove the images that this evaluation did not show."""
        for path in self._folder.glob("*.png"):
            if path.name not in self._names and _OWN_IMAGE.fullmatch(path.name):
                path.unlink()

    def discard(self) -> None:
        """Remove the images that this evaluation added."""
        for path in self._added:
            path.unlink()

    def _write(self, image: Float[Tensor, "3 H W"]) -> str:
        content = _png(image, self._side)
        name = f"{hashlib.sha256(content).hexdigest()[:20]}.png"
        if name not in self._names:
            self._names.add(name)
            path = self._folder / name
            if not path.exists():
                write_whole(path, content)
                self._added.append(path)
        return name


def _png(image: Float[Tensor, "3 H W"], side: int) -> bytes:
    pixels = (image.detach().float().clamp(0, 1) * 255).round().permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels.astype(np.uint8))
    picture.thumbnail((side, side))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()
