"""A folder of one's own: images beside a table that names them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.transforms.functional import to_pil_image

from vlcal.types import PromptBatch


@pytest.fixture(scope="session")
def own_data(tmp_path_factory: pytest.TempPathFactory, scenes: Callable[[int], PromptBatch]) -> Path:
    """Twenty-four images as PNG and labels.csv with image, question and answer."""
    return labelled(tmp_path_factory.mktemp("own"), scenes(24))


def labelled(folder: Path, prompts: PromptBatch) -> Path:
    """The folder, with an image of each prompt and a table that names them."""
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "question", "answer"])
        for number, (shown, question, target) in enumerate(
            zip(prompts.images, prompts.questions, prompts.targets, strict=True)
        ):
            to_pil_image(shown[0]).save(folder / f"{number}.png")
            rows.writerow([f"{number}.png", question, target])
    return folder
