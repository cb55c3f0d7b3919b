"""Images, in every form in which data sets keep them, as tensors."""

from __future__ import annotations

import base64
import binascii
import math
import os
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps, JpegImagePlugin
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from vlcal.errors import UserError
from vlcal.files import leaves

# What Pillow raises for files that are no images, are cut short, or would fill the memory.
UNREADABLE = (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)
# Largest levels of integers and of floats, smallest first: 32 bits hold what was measured in 8, in 16 or in 31.
_RANGES = {"I": (255, 65535, 2**31 - 1), "F": (1, 255, 65535, 2**31 - 1)}
# Decoded in C; others of Pillow are programs (EPS), or decoded in Python, a microsecond for each pixel that is claimed.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP")
_MOST_SCANS = 40  # of a JPEG; encoders write about ten, and each goes over all pixels, which costs a file few bytes
_LONGEST_PATH = 1024  # characters; what is longer can only be the image itself


class ImageSize:
    """Bounds on an image; one of too many or too few pixels is scaled, its proportions kept and nothing cut off.

    Args:
        min_pixels: Smallest width times height; smaller images are enlarged. None has no bound.
        max_pixels: Largest width times height, 1,003,520 being what Qwen2.5-VL takes 1,280 tokens for. None has no
            bound, and leaves it to the processor of the model.
        max_ratio: Largest ratio of the longer side to the shorter, at least 1; a row with an image beyond it is a bad
            row. The processors of Qwen-VL and GLM-V take up to 200. None has no bound.
        max_source_pixels: Largest width times height of the file itself; a row with an image beyond it is a bad row. A
            file of some kilobytes may claim any size, and takes time and memory for all of it: up to 2 s of one core
            for these 50 megapixels. Pillow itself takes at most 179 megapixels.
    """

    def __init__(
        self,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        max_ratio: float | None = 200.0,
        max_source_pixels: int = 50_000_000,
    ) -> None:
        lowest, highest = min_pixels or 1, max_pixels or math.inf
        if not 1 <= lowest <= highest:
            raise UserError(
                f"`min_pixels` must be at least 1 and not beyond `max_pixels`; got {min_pixels} and {max_pixels}."
            )
        if max_ratio is not None and not max_ratio >= 1:
            raise UserError(f"`max_ratio` must be at least 1, the ratio of a square, or None; got {max_ratio}.")
        self.min_pixels = lowest
        self.max_pixels = highest
        if not max_source_pixels >= 1:
            raise UserError(f"`max_source_pixels` must be at least 1; got {max_source_pixels}. 50_000_000 is usual.")
        self.max_ratio = math.inf if max_ratio is None else max_ratio
        self.max_source_pixels = max_source_pixels

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        """The width and the height that an image is scaled to; their ratio is never further from 1 than it was.

        >>> ImageSize(max_pixels=200)(40, 20), ImageSize(min_pixels=200)(10, 5), ImageSize()(40, 20)
        ((20, 10), (20, 10), (40, 20))
        """
        short, long = sorted((width, height))
        pixels = short * long
        scaled = short
        if pixels > self.max_pixels:
            scaled = max(1, int(short * math.sqrt(self.max_pixels / pixels)))
        elif pixels < self.min_pixels:
            scaled = math.ceil(short * math.sqrt(self.min_pixels / pixels))
            scaled += scaled * (scaled * long // short) < self.min_pixels
        # The longer side follows from the shorter and is rounded down, so that their ratio does not rise.
        other = int(min(scaled * long // short, self.max_pixels))
        return (other, scaled) if width > height else (scaled, other)

    def check(self, width: int, height: int) -> None:
        """Refuse an image that is too large to be decoded, or whose sides, as they are scaled, differ too much.

        Raises:
            UserError: If it has more than `max_source_pixels`, or sides that differ by more than `max_ratio`.
        """
        self.check_source(width, height)
        short, long = sorted(self(width, height))
        if long > self.max_ratio * short:
            raise UserError(
                f"the sides of an image must differ by a factor of at most {self.max_ratio:g}, `max_ratio` of "
                f"`image_size`; got {width} x {height} pixels. Cut the image, or leave the row out."
            )

    def check_source(self, width: int, height: int) -> None:
        """Refuse an image that takes long to decode.

        Raises:
            UserError: If it has more than `max_source_pixels`.
        """
        if width * height > self.max_source_pixels:
            raise UserError(
                f"an image must have at most {self.max_source_pixels:,} pixels, `max_source_pixels` of `image_size`, "
                f"before it is scaled; got {width} x {height}. Scale the file, raise the bound, or leave the row out."
            )


def stored_images(value: Any) -> list[Any]:
    """The images of one cell, whatever they are nested in, in order; empty places in a list hold none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, list | tuple):
        return [image for item in value for image in stored_images(item)]
    if isinstance(value, Mapping) and not any(value.values()):
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
    opened = stored if isinstance(stored, Image.Image) else _opened(stored, folder)
    if not opened.width or not opened.height:
        raise UserError(f"image {_shown(stored)} must have pixels; it has {opened.width} x {opened.height} of them.")
    return opened


def _opened(stored: Any, folder: Path) -> Image.Image:
    found = stored
    if isinstance(stored, Mapping):
        found = stored.get("bytes") or stored.get("path")
    if isinstance(found, str):
        found = _bytes_or_path(found, folder)
    if not isinstance(found, bytes | Path):
        came = f"one with {', '.join(map(str, stored))}" if isinstance(stored, Mapping) else _shown(stored)
        raise UserError(f"an image must be a path, base64 text, bytes or a mapping with `bytes` or `path`; got {came}.")
    try:
        return Image.open(BytesIO(found) if isinstance(found, bytes) else found, formats=_formats())
    except UNREADABLE as error:
        raise UserError(_unreadable(stored, error)) from error


def image_size(stored: Any, folder: Path) -> tuple[int, int]:
    """Width and height of an image, by its header.

    Raises:
        UserError: If there is no image, or nothing that Pillow reads.
    """
    opened = open_image(stored, folder)
    if opened is not stored:
        opened.close()
    return opened.size


def image_tensor(stored: Any, folder: Path, size: ImageSize) -> Float[Tensor, "3 H W"]:
    """An image upright, in RGB, in [0, 1], within the bounds; where it is transparent, it is white.

    Raises:
        UserError: If it cannot be decoded, or claims more pixels than `size` takes.
    """
    opened = open_image(stored, folder)
    try:
        size.check_source(*opened.size)
        _check_scans(opened)
        image = ImageOps.exif_transpose(opened)
        scaled = size(image.width, image.height)
        image = _opaque(_eight_bit(image))
        if scaled != image.size:
            image = image.resize(scaled, Image.Resampling.BICUBIC)
    except UNREADABLE as error:
        raise UserError(_unreadable(stored, error)) from error
    finally:
        if opened is not stored:
            opened.close()
    pixels: Tensor = pil_to_tensor(image).float() / 255
    return pixels


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this Pillow was built with."""
    Image.init()
    return tuple(kind for kind in _FORMATS if kind in Image.ID)


def _check_scans(image: Image.Image) -> None:
    """Refuse a JPEG that goes over its pixels more often than any encoder does.

    Raises:
        ValueError: If it does.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.fp is None:
        return
    place = image.fp.tell()
    image.fp.seek(0)
    scans = image.fp.read().count(b"\xff\xda")  # the mark of a scan, which its coded pixels cannot hold
    image.fp.seek(place)
    if scans > _MOST_SCANS:
        raise ValueError(f"it has {scans} scans, and at most {_MOST_SCANS} are read")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey levels of 16 or 32 bits, or floats, scaled by their range to 8 bits; Pillow itself would clip them to 255.

    Raises:
        ValueError: If a level is negative or not finite, so that there is no such range.
    """
    if image.mode[0] not in _RANGES:
        return image
    if ";" in image.mode:  # by a table, at a tenth of the time
        table = (np.arange(65536) / 65535 * 255).round().astype(np.uint8)
        return Image.fromarray(table[np.asarray(image, dtype=np.uint16)])
    levels = np.asarray(image, dtype=np.float64)
    if not np.isfinite(levels).all() or levels.min() < 0:
        raise ValueError("its levels must be finite and at least 0 to stand for brightness")
    highest = next((highest for highest in _RANGES[image.mode] if levels.max() <= highest), levels.max())
    return Image.fromarray((levels / highest * 255).round().astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    """Black lines on nothing, as diagrams are often kept, would be black on black without the white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def _bytes_or_path(text: str, folder: Path) -> bytes | Path:
    """What a text stands for: a file that is there, or else the image itself."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    # Path.is_file raises for a text that the file system takes for no name, as base64 may be.
    if encoded is text and len(text) <= _LONGEST_PATH and os.path.isfile(folder / text):  # noqa: PTH113
        if leaves(folder, text):
            raise UserError(
                f"image {_shown(text)} must lie in {folder}, so that a file from elsewhere cannot name others of "
                "yours. Move it there, or set `image_folder` of the source to a folder that holds it."
            )
        return folder / text
    try:
        found = base64.b64decode("".join(encoded.split()), validate=True)
        Image.open(BytesIO(found), formats=_formats()).close()
    except (binascii.Error, *UNREADABLE) as error:
        raise UserError(
            f"image {_shown(folder / text if len(text) <= _LONGEST_PATH else text)} is not there, and its text is no "
            f"image in base64. Paths are relative to {folder}."
        ) from error
    return found


def _unreadable(stored: Any, error: BaseException) -> str:
    return f"image {_shown(stored)} cannot be read as an image: {error}. Use PNG, JPEG, WebP or TIFF."


def _shown(stored: Any) -> str:
    """A few words that tell one image from others, without its bytes."""
    if isinstance(stored, Mapping):
        return f"{stored['path']!s:.200}" if stored.get("path") else f"of {len(stored.get('bytes') or b'')} bytes"
    if isinstance(stored, bytes):
        return f"of {len(stored)} bytes"
    return f"{stored!s:.200}"
