"""A small parquet file in the schema of the method's own data."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image


def png(width: int, height: int) -> bytes:
    """A grey picture of this size."""
    target = BytesIO()
    Image.new("RGB", (width, height), (90, 120, 150)).save(target, format="PNG")
    return target.getvalue()


def write_questions(
    path: Path, images: Sequence[Sequence[bytes]], problem: str = "What is the first?", answer: str | None = None
) -> Path:
    """One question for each list of images: `problem`, `answer`, and `images` as structs of bytes and path."""
    from datasets import Dataset

    rows = [
        {
            "problem": "<image>" * len(shown) + problem,
            "answer": answer or str(row),
            "images": [{"bytes": image, "path": None} for image in shown],
        }
        for row, shown in enumerate(images)
    ]
    Dataset.from_list(rows).to_parquet(str(path))
    return path
