"""A limited number of small images, chosen by a rule that the page states."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps

SIDE = 256  # longest side in pixels
MOST_CHARACTERS = 9_000_000
SHARP_SIDE = 128  # up to here an image is stored exactly, since every pixel shows
PER_QUESTION = 4


@dataclass
class Thumbnails:
    """Small images as data addresses, equal files once.

    Args:
        limit: Most questions with images.
    """

    limit: int
    addresses: list[str] = field(default_factory=list)
    _places: dict[Path, int] = field(default_factory=dict)
    _characters: int = 0
    _questions: int = 0

    def add(self, paths: Sequence[Path]) -> list[int]:
        """Places of the images of a question; empty where the limits are reached or no file is there."""
        if self._questions >= self.limit or self._characters >= MOST_CHARACTERS:
            return []
        present = [path for path in paths[:PER_QUESTION] if path.is_file()]
        self._questions += bool(present)
        return [self._place(path) for path in present]

    def _place(self, path: Path) -> int:
        if path not in self._places:
            address = _address(path)
            self._places[path] = len(self.addresses)
            self.addresses.append(address)
            self._characters += len(address)
        return self._places[path]


def _address(path: Path) -> str:
    """The image as a data address: exact where it is small, JPEG where it is a photograph.

    Raises:
        ValueError: If it cannot be decoded; names the file.
    """
    content = io.BytesIO()
    try:
        with Image.open(path) as image:
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}. Write the predictions again.") from error
    sharp = max(picture.size) <= SHARP_SIDE
    picture.thumbnail((SIDE, SIDE))
    picture.save(content, format="PNG" if sharp else "JPEG", **({} if sharp else {"quality": 80}))
    kind = "png" if sharp else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def in_turn(ranked: Iterable[Iterable[int]]) -> list[int]:
    """Each number once, in the order of the first ranking, then of the second, and so on.

    >>> in_turn([[3, 1], [1, 2]])
    [3, 1, 2]
    """
    return list(dict.fromkeys(number for ranking in ranked for number in ranking))
