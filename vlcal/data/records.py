"""Your own questions: JSON Lines with a question, an answer and the paths of its images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor

from vlcal.types import PromptBatch


@dataclass(frozen=True)
class Record:
    """One row of a file, checked, with its images not yet read."""

    name: str
    question: str
    target: str
    images: tuple[Path, ...]
    extras: dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """Every row of a file: `question`, `answer`, `images` (a list of paths, relative to the file) and anything else.

    Raises:
        ValueError: If the file is missing or empty, or a row is not what it should be; names file and row.
    """
    if not path.is_file():
        raise ValueError(f"`path` must be a JSON Lines file; {path} is not there.")
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [_record(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not records:
        raise ValueError(f"{path} holds no row, so there is nothing to learn from. Write one JSON object a line.")
    return records


def _record(path: Path, number: int, line: str) -> Record:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, row {number}: not JSON: {error}. Write one JSON object a line.") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, row {number}: a JSON object is asked for; got {type(row).__name__}.")
    for key in ("question", "answer"):
        if not isinstance(row.get(key), (str, int, float)):
            raise ValueError(f"{path}, row {number}: `{key}` must be a text or a number; got {row.get(key)!r}.")
    paths = row.get("images", [])
    if not isinstance(paths, list) or not all(isinstance(item, str) for item in paths):
        raise ValueError(f"{path}, row {number}: `images` must be a list of paths; got {paths!r}.")
    images = tuple(path.parent / item for item in paths)
    for image in images:
        if not image.is_file():
            raise ValueError(f"{path}, row {number}: image {image} is not there. Paths are relative to the file.")
    extras = {key: value for key, value in row.items() if key not in ("question", "answer", "images")}
    return Record(f"{path.name}:{number}", str(row["question"]), str(row["answer"]), images, extras)


def load_image(path: Path) -> Tensor:
    """An image as (3, H, W) in [0, 1].

    Raises:
        ValueError: If it cannot be decoded; names the file.
    """
    try:
        with Image.open(path) as image:
            pixels: Tensor = pil_to_tensor(ImageOps.exif_transpose(image).convert("RGB"))
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read as an image: {error}. Use PNG, JPEG or another format that Pillow reads."
        ) from error
    return pixels.float() / 255


def prompts_of(records: Sequence[Record]) -> PromptBatch:
    """Rows as prompts, their images read."""
    return PromptBatch(
        ids=tuple(record.name for record in records),
        images=tuple(tuple(load_image(image) for image in record.images) for record in records),
        questions=tuple(record.question for record in records),
        targets=tuple(record.target for record in records),
        extras=tuple(record.extras for record in records),
    )


class _Rows(Dataset[Record]):
    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]


class RecordPrompts(lightning.LightningDataModule):
    """Questions from JSON Lines files; every row is checked, and every image found, before anything is loaded.

    Args:
        train: File to learn from.
        held_out: File to validate, test and predict on.
        batch_size: Prompts a step.
        workers: Processes that read images.
        seed: Of the order of the training rows.
    """

    def __init__(
        self,
        train: Path | None = None,
        held_out: Path | None = None,
        batch_size: int = 8,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1; got {batch_size}.")
        files = {"train": train, "held_out": held_out}
        self.rows = {name: _Rows(read_records(path)) for name, path in files.items() if path is not None}
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Any]:
        """The training rows in an order drawn from the seed."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out rows in the order of the file."""
        return self._loader("held_out", shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """The held-out rows in the order of the file."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """The held-out rows in the order of the file."""
        return self.val_dataloader()

    def _loader(self, name: str, shuffle: bool) -> DataLoader[Any]:
        if name not in self.rows:
            raise ValueError(f"`{name}` must name a JSON Lines file for this command; got none.")
        order = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            self.rows[name],
            batch_size=self.batch_size,
            shuffle=shuffle,
            generator=order,
            collate_fn=prompts_of,
            num_workers=self.workers,
        )
