"""Images, in every form in which data sets keep them, as tensors."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from vlcal.errors import UserError

# What Pillow raises for files that are no images, are cut short, or would fill the memory.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_LONGEST_PATH = 1024  # characters; what is longer can only be the image itself


class ImageSize:
    """Bounds on the pixels of an image; what is outside is scaled, its proportions kept and nothing cut off.

    Args:
        min_pixels: Smallest width times height; smaller images are enlarged. None has no bound.
        max_pixels: Largest width times height, 1,003,520 being what Qwen2.5-VL takes 1,280 tokens for. None has no
            bound, and leaves it to the processor of the model.
    """

    def __init__(self, min_pixels: int | None = None, max_pixels: int | None = None) -> None:
        lowest, highest = min_pixels or 1, max_pixels or math.inf
        if not 1 <= lowest <= highest:
            raise UserError(
                f"`min_pixels` must be at least 1 and not beyond `max_pixels`; got {min_pixels} and {max_pixels}."
            )
        self.min_pixels = lowest
        self.max_pixels = highest

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        """The width and the height that an image is scaled to.

        >>> ImageSize(max_pixels=200)(40, 20), ImageSize(min_pixels=200)(10, 5), ImageSize()(40, 20)
        ((20, 10), (20, 10), (40, 20))
        """
        pixels = width * height
        if pixels > self.max_pixels:
            scale = math.sqrt(self.max_pixels / pixels)
            # A side that would vanish keeps one pixel, and the other one pays for it.
            wide = int(min(max(1, int(width * scale)), self.max_pixels))
            return wide, int(min(max(1, int(height * scale)), self.max_pixels // wide))
        if pixels < self.min_pixels:
            scale = math.sqrt(self.min_pixels / pixels)
            return math.ceil(width * scale), math.ceil(height * scale)
        return width, height


def stored_images(value: Any) -> list[Any]:
    """The images of one cell, whatever they are nested in, in order; empty places in a list hold none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, list | tuple):
        return [image for item in value for image in stored_images(item)]
    if isinstance(value, Mapping) and not value.get("bytes") and not value.get("path"):
        return []
    return [value]


def open_image(stored: Any, folder: Path) -> Image.Image:
    """An image whose header was read and whose pixels were not.

    Args:
        stored: A path, base64 text, bytes, a mapping with `bytes` or `path`, or an image.
        folder: What paths are relative to.

    Raises:
        UserError: If there is no image, or nothing that Pillow reads.
    """
    if isinstance(stored, Image.Image):
        return stored
    found = stored
    if isinstance(stored, Mapping):
        found = stored.get("bytes") or stored.get("path")
    if isinstance(found, str):
        found = _bytes_or_path(found, folder)
    if not isinstance(found, bytes | Path):
        raise UserError(
            f"an image must be a path, base64 text, bytes or a mapping with `bytes` or `path`; got {_shown(stored)}."
        )
    try:
        return Image.open(BytesIO(found) if isinstance(found, bytes) else found)
    except UNREADABLE as error:
        raise UserError(_unreadable(stored, error)) from error


def image_tensor(stored: Any, folder: Path, size: ImageSize) -> Float[Tensor, "3 H W"]:
    """An image upright, in RGB, in [0, 1], within the bounds; where it is transparent, it is white.

    Raises:
        UserError: If it cannot be decoded.
    """
    opened = open_image(stored, folder)
    try:
        image = ImageOps.exif_transpose(opened)
        scaled = size(image.width, image.height)
        image = _opaque(image)
        if scaled != image.size:
            image = image.resize(scaled, Image.Resampling.BICUBIC)
    except UNREADABLE as error:
        raise UserError(_unreadable(stored, error)) from error
    finally:
        if opened is not stored:
            opened.close()
    pixels: Tensor = pil_to_tensor(image).float() / 255
    return pixels


def _opaque(image: Image.Image) -> Image.Image:
    """Black lines on nothing, as diagrams are often kept, would be black on black without the white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def _bytes_or_path(text: str, folder: Path) -> bytes | Path:
    """What a text stands for: a file that is there, or else the image itself."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    if encoded is text and len(text) <= _LONGEST_PATH and (folder / text).is_file():
        return folder / text
    try:
        found = base64.b64decode("".join(encoded.split()), validate=True)
        Image.open(BytesIO(found)).close()
    except (binascii.Error, *UNREADABLE) as error:
        raise UserError(
            f"image {_shown(folder / text if len(text) <= _LONGEST_PATH else text)} is not there, and its text is no "
            f"image in base64. Paths are relative to {folder}."
        ) from error
    return found


def _unreadable(stored: Any, error: BaseException) -> str:
    return f"image {_shown(stored)} cannot be read as an image: {error}. Use PNG, JPEG or another format of Pillow."


def _shown(stored: Any) -> str:
    """A few words that tell one image from others, without its bytes."""
    if isinstance(stored, Mapping):
        return f"{stored['path']!s:.200}" if stored.get("path") else f"of {len(stored.get('bytes') or b'')} bytes"
    if isinstance(stored, bytes):
        return f"of {len(stored)} bytes"
    return f"{stored!s:.200}"
