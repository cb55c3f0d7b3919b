"""The responses and images that the page can show, packed into it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import RIGHT
from vlcal.evaluation.outputs.column import number_of
from vlcal.evaluation.report.runs import Run
from vlcal.files import leaves

MOST_CHARACTERS = 12_000_000  # of the packed texts, so that the page stays below 25 MB
CONFIDENT, UNSURE = 0.7, 0.3  # from where a response is confident and up to where it is unsure
IMAGE_RULE = (
    "questions that some run answers wrong and confidently come first, then those it answers right and unsure, those "
    "it answers in a broken form, and the others in the order of the file"
)
_MEASURED = ("certainty", "certainty_score", "clearness", "reward")
_TEXTS = ("response", "answer")
_FLAGS = ("well_formed", "truncated")
Key = tuple[str, str, str, str]

SIDE = 256  # longest side of a thumbnail in pixels
MOST_IMAGE_CHARACTERS = 9_000_000
SHARP_SIDE = 128  # up to here an image is stored exactly, since every pixel shows
PER_QUESTION = 4
MOST_PIXELS = 50_000_000  # a file of some kilobytes may claim any number, and takes time for all of them
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # of Pillow, which would have Ghostscript run others


@dataclass(frozen=True)
class Samples:
    """What the browser on the page reads.

    Args:
        packed: Questions and responses as JSON, compressed, in base64.
        thumbnails: Data addresses of images, one a line.
        kept: Responses in it.
        responses: Responses there are.
        pictured: Questions with an image in it.
        questions: Different questions in it.
        left_out: Images that are not in it, each with the reason.
    """

    packed: str
    thumbnails: str
    kept: int
    responses: int
    pictured: int
    questions: int
    left_out: tuple[str, ...] = ()


@dataclass
class Thumbnails:
    """Small images as data addresses, equal files once.

    Args:
        limit: Most questions with images.
    """

    limit: int
    addresses: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _places: dict[Path, int | None] = field(default_factory=dict)
    _characters: int = 0
    _questions: int = 0

    def add(self, folder: Path, names: Sequence[str]) -> list[int]:
        """Places of the images of a question; empty where the limits are reached or none can be shown."""
        if self._questions >= self.limit or self._characters >= MOST_IMAGE_CHARACTERS:
            return []
        # Path.is_file raises for what the file system takes for no name.
        present = [name for name in names[:PER_QUESTION] if os.path.isfile(folder / name)]  # noqa: PTH113
        shown = [place for name in present if (place := self._place(folder, name)) is not None]
        self._questions += bool(shown)
        return shown

    def _place(self, folder: Path, name: str) -> int | None:
        """The place of an image; None where it cannot be shown, which is noted once."""
        path = folder / name
        if path not in self._places:
            try:
                address = _address(folder, name)
            except UserError as error:
                self._places[path] = None
                self.left_out.append(f"{path} {error}")
            else:
                self._places[path] = len(self.addresses)
                self.addresses.append(address)
                self._characters += len(address)
        return self._places[path]


def pack_samples(runs: Sequence[Run], images: int) -> Samples:
    """All responses, or those to questions evenly spread over the files, as many as fit.

    Args:
        runs: Whose responses.
        images: Most questions whose images are kept.
    """
    keys = [[_key(run, number) for number in range(len(run))] for run in runs]
    order = list(dict.fromkeys(key for column in keys for key in column))
    pictures = Thumbnails(images)
    shown = _pictured(runs, keys, order, pictures)
    share = 1.0
    while True:
        chosen = {order[place] for place in np.unique(np.arange(0, len(order), 1 / share).astype(int))}
        content = _content(runs, keys, [key for key in order if key in chosen], shown)
        packed = _packed(content)
        if len(packed) <= MOST_CHARACTERS:
            break
        share *= 0.9 * MOST_CHARACTERS / len(packed)
    kept = sum(len(run["question"]) for run in content["runs"])
    pictured = sum(bool(shown.get(key)) for key in chosen)
    responses, left_out = sum(map(len, runs)), tuple(pictures.left_out)
    return Samples(packed, "\n".join(pictures.addresses), kept, responses, pictured, len(chosen), left_out)


def in_turn(ranked: Iterable[Iterable[int]]) -> list[int]:
    """Each number once, in the order of the first ranking, then of the second, and so on.

    >>> in_turn([[3, 1], [1, 2]])
    [3, 1, 2]
    """
    return list(dict.fromkeys(number for ranking in ranked for number in ranking))


def _packed(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode()


def _key(run: Run, number: int) -> Key:
    """What makes two responses answers to the same question."""
    row = run.rows[number]
    return (
        str(run.outputs.dataset[number]),
        str(row.get("id") or run.outputs.question[number]),
        str(row.get("question") or ""),
        str(row.get("target") or ""),
    )


def _pictured(
    runs: Sequence[Run], keys: Sequence[Sequence[Key]], order: Sequence[Key], pictures: Thumbnails
) -> dict[Key, list[int]]:
    """The places of the images of each question that is shown with some."""
    named: dict[Key, tuple[Path, list[str]]] = {}
    for run, column in zip(runs, keys, strict=True):
        for key, row in zip(column, run.rows, strict=True):
            images = row.get("images")
            if key not in named and images and isinstance(images, list):
                named[key] = (run.sheet.path.parent, list(map(str, images)))
    places = {key: place for place, key in enumerate(order)}
    ranked = [ranking for run, column in zip(runs, keys, strict=True) for ranking in _rankings(run, column, places)]
    sorts = [in_turn(ranked[sort::3]) for sort in range(3)]
    turn = in_turn([*sorts, range(len(order))])
    return {order[place]: pictures.add(*named[order[place]]) for place in turn if order[place] in named}


def _rankings(run: Run, column: Sequence[Key], places: Mapping[Key, int]) -> list[list[int]]:
    """Questions answered wrong and confidently, right and unsure, and in a broken form; the extreme ones first."""
    responses = run.outputs.judged(next(iter(run.outputs.confidence)))
    stated, right = responses.confidence, responses.correct >= RIGHT
    order = np.argsort(-np.nan_to_num(stated, nan=0.5), kind="stable")
    broken = np.array([row.get("well_formed") is False for row in run.rows]) | np.isnan(stated)
    sorts = (
        [row for row in order if stated[row] >= CONFIDENT and not right[row]],
        [row for row in order[::-1] if stated[row] <= UNSURE and right[row]],
        np.flatnonzero(broken).tolist(),
    )
    return [[places[column[row]] for row in rows] for rows in sorts]


def _content(
    runs: Sequence[Run],
    keys: Sequence[Sequence[Key]],
    order: Sequence[Key],
    shown: Mapping[Key, list[int]],
) -> dict[str, Any]:
    places = {key: place for place, key in enumerate(order)}
    questions = [
        {"dataset": key[0], "id": key[1], "question": key[2], "target": key[3], "images": shown.get(key, [])}
        for key in order
    ]
    packed = []
    for run, column in zip(runs, keys, strict=True):
        rows = [row for row, key in enumerate(column) if key in places]
        about = {"name": run.name, "truths": dict(run.outputs.held_against)}
        packed.append({**about, "question": [places[column[row]] for row in rows], **_columns(run, rows)})
    return {"questions": questions, "runs": packed}


def _columns(run: Run, rows: Sequence[int]) -> dict[str, Any]:
    truths = ("correct", "perception_correct", "reasoning_correct")
    columns: dict[str, list[Any]] = {
        name: [_rounded(value) for value in run.column(name)[rows].tolist()]
        for name in (*run.outputs.confidence, *truths, *_MEASURED)
    }
    written = [run.rows[row] for row in rows]
    columns |= {name: [None if row.get(name) is None else str(row[name]) for row in written] for name in _TEXTS}
    columns |= {name: [row[name] if isinstance(row.get(name), bool) else None for row in written] for name in _FLAGS}
    columns["rewards"] = [_rewards(row.get("rewards")) for row in written]
    columns["tokens"] = [_tokens(row.get("vision_tokens")) for row in written]
    # An empty column need not travel.
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _rewards(terms: Any) -> dict[str, float | None] | None:
    return {name: _rounded(value) for name, value in terms.items()} if isinstance(terms, Mapping) and terms else None


def _tokens(pieces: Any) -> list[list[Any]] | None:
    pairs = isinstance(pieces, list) and all(isinstance(piece, list) and len(piece) == 2 for piece in pieces)
    if not pairs or not pieces:
        return None
    return [[str(text) for text, _ in pieces], [_rounded(value) for _, value in pieces]]


def _rounded(value: Any) -> float | None:
    number = number_of(value)
    return None if number is None or not math.isfinite(number) else round(number, 3)


def _address(folder: Path, name: str) -> str:
    """The image as a data address: exact where it is small, JPEG where it is a photograph.

    Raises:
        UserError: If it lies outside the folder or cannot be decoded; says which.
    """
    from PIL import Image, ImageOps

    if leaves(folder, name):
        raise UserError("lies outside the folder of the predictions")
    content = io.BytesIO()
    try:
        with Image.open(folder / name, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels, and at most {MOST_PIXELS:,} are decoded")
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot be read as an image: {error}") from error
    sharp = max(picture.size) <= SHARP_SIDE
    picture.thumbnail((SIDE, SIDE))
    picture.save(content, format="PNG" if sharp else "JPEG", **({} if sharp else {"quality": 80}))
    kind = "png" if sharp else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
