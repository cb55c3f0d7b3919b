from __future__ import annotations

import base64
import re
import struct
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from vlcal.data.images import ImageSize, image_tensor, stored_images
from vlcal.errors import UserError

SIDES = st.integers(1, 5000)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims to be that large and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


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


@pytest.mark.parametrize("cell", [None, "", " ", [], [None, ""], {"bytes": None, "path": None}, {"url": None}])
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


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "I", "I;16", "F", "P", "YCbCr"])
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


@given(SIDES, SIDES, st.integers(1, 100_000), st.integers(1, 100_000))
@example(11940, 60, 1, 602_112)
@example(398, 2, 3136, 100_000)
def test_no_image_is_longer_for_its_width_than_it_was(width: int, height: int, one: int, other: int) -> None:
    before = ImageSize(min_pixels=min(one, other), max_pixels=max(one, other))
    wide, high = before(width, height)

    assert max(wide, high) * min(width, height) <= min(wide, high) * max(width, height)
    assert (wide >= high) is (width >= height) or wide == high


@pytest.mark.parametrize(("width", "height"), [(200, 1), (12, 2400), (1, 1)])
def test_sides_that_differ_by_a_factor_that_processors_take_are_fine(width: int, height: int) -> None:
    ImageSize().check(width, height)


@pytest.mark.parametrize(("width", "height"), [(2800, 12), (12, 2800), (201, 1)])
def test_sides_that_differ_by_more_are_refused_unless_there_is_no_bound(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"by a factor of at most 200, .* got {width} x {height} pixels"):
        ImageSize().check(width, height)
    ImageSize(max_ratio=None).check(width, height)


def test_a_ratio_that_no_image_has_is_refused() -> None:
    with pytest.raises(ValueError, match="`max_ratio` must be at least 1, .* got 0.5"):
        ImageSize(max_ratio=0.5)


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
        ({"url": "https://x/a.png"}, "an image must be a path, .* got one with url"),
        ({"image": "a.png", "caption": "a"}, "an image must be a path, .* got one with image, caption"),
        ({"file_name": "a.png", "bytes": None}, "an image must be a path, .* got one with file_name, bytes"),
        (Image.new("RGB", (0, 5)), "must have pixels; it has 0 x 5"),
        (png_header(0, 5), "cannot be read as an image"),
        (png_header(20_000, 20_000), "cannot be read as an image: .* decompression bomb"),
        (Image.fromarray(np.array([[0.0, np.nan]], np.float32)), "its levels must be finite and at least 0"),
        (Image.fromarray(np.array([[-1, 5]], np.int32)), "its levels must be finite and at least 0"),
        (encoded(GREY, "EPS"), "cannot be read as an image: cannot identify"),  # a program, which Ghostscript would run
        (encoded(GREY, "DDS"), "cannot be read as an image: cannot identify"),  # decoded in Python, pixel by pixel
        (png_header(7100, 7100), "must have at most 50,000,000 pixels, `max_source_pixels` .* got 7100 x 7100"),
        ("a" * 600, "is not there, and its text is no image in base64"),
        ("a\0b.png", "is not there, and its text is no image in base64"),
    ],
)
def test_what_is_no_image_is_refused(stored: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        image_tensor(stored, tmp_path, ImageSize())


def test_a_text_named_as_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"image text\.png cannot be read as an image"):
        image_tensor("text.png", tmp_path, ImageSize())


@pytest.mark.parametrize("name", ["../outside.png", "deeper/../../outside.png", "{}/outside.png"])
def test_a_path_that_leaves_its_folder_is_refused_and_one_that_comes_back_is_not(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deeper").mkdir(parents=True)
    for place in (tmp_path / "outside.png", folder / "inside.png"):
        GREY.save(place)

    with pytest.raises(UserError, match=rf"outside\.png must lie in {folder}, .* set `image_folder` of the source"):
        image_tensor(name.format(tmp_path), folder, ImageSize())
    for inside in ("inside.png", "deeper/../inside.png", str(folder / "inside.png"), "linked.png"):
        (folder / "linked.png").unlink(missing_ok=True)
        (folder / "linked.png").symlink_to(tmp_path / "outside.png")  # a link is the work of the folder's owner
        assert image_tensor(inside, folder, ImageSize()).shape == (3, 4, 6)


def test_base64_as_long_as_a_name_may_not_be_is_an_image(tmp_path: Path) -> None:
    text = base64.b64encode(encoded(Image.effect_noise((9, 9), 50).convert("RGB"))).decode()

    assert 255 < len(text) < 1024
    assert image_tensor(text, tmp_path, ImageSize()).shape == (3, 9, 9)


HALF = {
    "16-bit PNG": (np.uint16, 32768, "PNG"),
    "16-bit TIFF": (np.uint16, 32768, "TIFF"),
    "32-bit TIFF of 8-bit levels": (np.int32, 128, "TIFF"),
    "32-bit TIFF of 16-bit levels": (np.int32, 32768, "TIFF"),
    "32-bit TIFF of 31-bit levels": (np.int32, 2**30, "TIFF"),
    "float TIFF of shares": (np.float32, 0.5, "TIFF"),
    "float TIFF of 8-bit levels": (np.float32, 127.5, "TIFF"),
    "float TIFF of 16-bit levels": (np.float32, 32767.5, "TIFF"),
}


@pytest.mark.parametrize("kind", HALF)
def test_grey_levels_beyond_8_bits_are_scaled_and_not_clipped(kind: str, tmp_path: Path) -> None:
    dtype, half, form = HALF[kind]
    levels = np.array([[0, half, half]], dtype)

    pixels = image_tensor(encoded(Image.fromarray(levels), form), tmp_path, ImageSize())

    assert torch.allclose(pixels, torch.tensor([0.0, 0.5, 0.5]), atol=1 / 255)


def test_a_dark_16_bit_image_stays_dark(tmp_path: Path) -> None:
    dark = encoded(Image.fromarray(np.full((2, 2), 200, np.uint16)))

    assert image_tensor(dark, tmp_path, ImageSize()).max() < 0.01


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (51, 204)]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    assert torch.allclose(image_tensor(moving, tmp_path, ImageSize()), torch.tensor(0.2))


def zeros_png(width: int, height: int, depth: int, colour: int, channels: int) -> bytes:
    """A small PNG of that many pixels, all 0."""
    row = 1 + width * channels * depth // 8
    packed = zlib.compressobj(1)
    content = b"".join(packed.compress(bytes(row)) for _ in range(height)) + packed.flush()
    empty = png_header(width, height)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    head = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    pixels = struct.pack(">I", len(content)) + b"IDAT" + content + struct.pack(">I", zlib.crc32(b"IDAT" + content))
    return empty[:8] + head + pixels + empty[-12:]


@pytest.mark.parametrize(("depth", "colour", "channels"), [(16, 0, 1), (16, 6, 4), (8, 2, 3), (8, 0, 1)])
def test_the_largest_image_takes_two_seconds_whatever_its_mode(depth: int, colour: int, channels: int) -> None:
    large = zeros_png(5000, 2000, depth, colour, channels)
    start = time.process_time()

    assert image_tensor(large, Path(), ImageSize(max_pixels=10_000)).shape == (3, 63, 157)

    # A fifth of the pixels that are allowed. A grey one of 16 bits took 7 s for all of them before.
    assert time.process_time() - start < 0.8


def test_a_jpeg_of_more_scans_than_encoders_write_is_refused() -> None:
    few = encoded(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    scan = few[few.rindex(b"\xff\xda") : -2]
    many = few[:-2] + scan * 60 + few[-2:]

    assert image_tensor(few, Path(), ImageSize()).shape == (3, 64, 64)
    with pytest.raises(UserError, match="cannot be read as an image: it has 70 scans, and at most 40 are read"):
        image_tensor(many, Path(), ImageSize())


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_frames_behind_the_first_take_no_time(form: str) -> None:
    frames = [Image.new("RGB", (200, 200), (level, 0, 0)) for level in range(200)]
    moving = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    start = time.process_time()

    assert image_tensor(moving, Path(), ImageSize()).max() < 0.01

    assert time.process_time() - start < 0.1


def test_a_bound_on_the_source_that_no_image_keeps_is_refused() -> None:
    with pytest.raises(UserError, match="`max_source_pixels` must be at least 1; got 0"):
        ImageSize(max_source_pixels=0)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_colour_it_prints(form: str, tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))

    pixels = image_tensor(encoded(red, form), tmp_path, ImageSize())[:, 8, 8]

    assert torch.allclose(pixels, torch.tensor([1.0, 0.0, 0.0]), atol=0.02)


DAMAGED = [
    encoded(Image.effect_noise((24, 20), 60).convert("RGB"), form, **options)
    for form, options in (
        *(("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("BMP", {}), ("WEBP", {})),
        *(("PPM", {}), ("TIFF", {"compression": "raw"}), ("PCX", {}), ("SGI", {}), ("MPO", {}), ("TGA", {})),
    )
]


@pytest.mark.filterwarnings("ignore")  # of Pillow, about damage
@given(
    st.sampled_from(DAMAGED),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=12),
    st.integers(0, 10**6),
)
def test_whatever_bytes_of_an_image_are_damaged_it_is_an_image_or_a_refusal(
    whole: bytes, changes: list[tuple[int, int]], end: int
) -> None:
    content = bytearray(whole)
    for place, byte in changes:
        content[place % (40 if place % 2 else len(content))] = byte
    try:
        pixels = image_tensor(bytes(content[: end % (2 * len(content))]), Path(), ImageSize(max_pixels=10_000))
    except UserError as refusal:
        assert re.search("cannot be read as an image|must have at most .* pixels", str(refusal))  # noqa: PT017 - which of the two is not known beforehand
    else:
        assert pixels.ndim == 3 and pixels.numel() and pixels.min() >= 0 and pixels.max() <= 1
