from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlcal.data.images import ImageSize, image_tensor, stored_images

SIDES = st.integers(1, 5000)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


GREY = Image.new("RGB", (6, 4), (51, 51, 51))


@pytest.mark.parametrize(
    "form",
    [
        "grey.png",
        {"bytes": None, "path": "grey.png"},
        {"bytes": encoded(GREY), "path": None},
        {"bytes": encoded(GREY), "path": "gone.png"},
        encoded(GREY),
        base64.b64encode(encoded(GREY)).decode(),
        base64.encodebytes(encoded(GREY)).decode(),
        "data:image/png;base64," + base64.b64encode(encoded(GREY)).decode(),
        GREY,
    ],
    ids=["path", "path in a struct", "bytes in a struct", "bytes first", "bytes", "base64", "wrapped", "url", "image"],
)
def test_every_stored_form_is_the_same_image(form: Any, tmp_path: Path) -> None:
    GREY.save(tmp_path / "grey.png")

    (stored,) = stored_images([[form]])
    pixels = image_tensor(stored, tmp_path, ImageSize())

    assert pixels.shape == (3, 4, 6)
    assert torch.allclose(pixels, torch.tensor(0.2))


@pytest.mark.parametrize("cell", [None, "", " ", [], [None, ""], {"bytes": None, "path": None}])
def test_an_empty_cell_holds_no_image(cell: Any) -> None:
    assert stored_images(cell) == []


def test_an_image_is_turned_upright_as_its_camera_says(tmp_path: Path) -> None:
    sideways = Image.new("RGB", (6, 4))
    sideways.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row of pixels is the right side
    pixels = image_tensor(encoded(sideways, exif=exif), tmp_path, ImageSize())

    assert pixels.shape == (3, 6, 4)
    assert pixels[0].nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_lines_on_nothing_stay_visible(mode: str, tmp_path: Path) -> None:
    drawing = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    drawing.putpixel((1, 0), (0, 0, 0, 255))
    pixels = image_tensor(encoded(drawing.convert(mode)), tmp_path, ImageSize())

    assert pixels[0].tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "I", "P", "YCbCr"])
def test_every_colour_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    assert image_tensor(Image.new(mode, (2, 3)), tmp_path, ImageSize()).shape == (3, 3, 2)


@given(SIDES, SIDES, st.integers(1, 100_000))
def test_no_image_is_larger_than_allowed_and_proportions_stay(width: int, height: int, most: int) -> None:
    wide, high = ImageSize(max_pixels=most)(width, height)

    assert wide >= 1 and high >= 1 and wide * high <= most
    if wide > 1 and high > 1:  # a side is rounded down to a whole pixel
        assert wide / (high + 1) <= width / height <= (wide + 1) / high


@given(SIDES, SIDES, st.integers(1, 100_000))
def test_no_image_is_smaller_than_allowed(width: int, height: int, least: int) -> None:
    wide, high = ImageSize(min_pixels=least)(width, height)

    assert wide * high >= least and wide >= width and high >= height


def test_a_large_image_is_shrunk_and_nothing_is_cut_off(tmp_path: Path) -> None:
    halves = Image.new("RGB", (40, 20))
    halves.paste((255, 255, 255), (20, 0, 40, 20))
    pixels = image_tensor(halves, tmp_path, ImageSize(max_pixels=200))

    assert pixels.shape == (3, 10, 20)
    assert pixels[0, 5, 0] == 0 and pixels[0, 5, -1] == 1


@pytest.mark.parametrize("bounds", [{"min_pixels": 5, "max_pixels": 4}, {"max_pixels": -1}, {"min_pixels": -1}])
def test_bounds_that_no_image_meets_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="`min_pixels` must be at least 1 and not beyond `max_pixels`"):
        ImageSize(**bounds)


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ("gone.png", r"image .*gone\.png is not there, .* Paths are relative to"),
        ("AAAA" * 500, "is not there, and its text is no image in base64"),
        (b"no image", "image of 8 bytes cannot be read as an image"),
        (encoded(Image.effect_noise((64, 64), 50))[:900], "image of 900 bytes cannot be read as an image: .*truncated"),
        ({"bytes": b"no image", "path": "a.png"}, r"image a\.png cannot be read as an image"),
        (7, "an image must be a path, base64 text, bytes or a mapping .* got 7"),
    ],
)
def test_what_is_no_image_is_refused(stored: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        image_tensor(stored, tmp_path, ImageSize())
