"""From one row of a table to one prompt."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlcal.data.images import ImageSize, image_size, image_tensor, stored_images
from vlcal.data.rules import AnswerRule, AsWritten
from vlcal.errors import UserError
from vlcal.json_rows import cell_text
from vlcal.types import PromptBatch
from vlcal.verifiers import Verifier
from vlcal.verifiers.options import LETTERS

Row = Mapping[str, Any]

_IMAGE = re.compile(r"[ \t]*<image\s*(\d{0,9})>[ \t]*")
# What `ast.literal_eval` raises for a text that is no literal, or one that is nested too deep.
UNREADABLE_LITERAL = (ValueError, SyntaxError, MemoryError, RecursionError)
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    Args:
        question: Column with the question.
        answer: Column with what counts as right.
        images: Columns with the images, in order: each cell one image, a list of them or none. Empty for questions
            without images.
        options: Column with the texts of the options: a list, or a text that is one in Python. They are listed with
            letters below the question.
        question_id: Columns that together name what is asked. Rows that share it are versions of one question, which
            intervals treat as one draw. Empty where each row is a question of its own.
    """

    question: str = "question"
    answer: str = "answer"
    images: tuple[str, ...] = ("images",)
    options: str | None = None
    question_id: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is named."""
        return self.question, self.answer, *self.images, *((self.options,) if self.options else ()), *self.question_id


def listed(row: Row, columns: Columns, options: tuple[str, ...]) -> str:
    """The question, and below it the options with their letters."""
    return with_options(question_of(row, columns), options)


def with_options(question: str, options: tuple[str, ...]) -> str:
    r"""A text, and below it the options with their letters; options that stand in the image are letters only.

    >>> with_options("How many?", ("one", "two")), with_options("Which?", ("A", "B"))
    ('How many?\nA. one\nB. two', 'Which?\nOptions: A, B')
    """
    letters = tuple(LETTERS[: len(options)])
    if options and options == letters:
        return f"{question}\nOptions: {', '.join(letters)}"
    return "\n".join([question, *(f"{letter}. {text}" for letter, text in zip(letters, options, strict=True))])


Ask = Callable[[Row, Columns, tuple[str, ...]], str]


@dataclass(frozen=True)
class Record:
    """One row, checked, with its images not yet decoded: of them only width and height are known."""

    name: str
    place: str
    question: str
    target: str
    verifier: Verifier | None
    images: tuple[Any, ...]
    sizes: tuple[tuple[int, int], ...]
    folder: Path
    extras: dict[str, Any]


@dataclass(frozen=True)
class RowReader:
    """Makes records of rows.

    Args:
        dataset: Name of the data set, by which evaluation groups prompts.
        columns: Where things are.
        rule: From a cell to a target, and what judges answers against it.
        ask: From a row to what the policy is asked.
        least_images: Fewest images of a row.
    """

    dataset: str
    columns: Columns = Columns()
    rule: AnswerRule = field(default_factory=AsWritten)
    ask: Ask = listed
    least_images: int = 0

    def __call__(self, row: Row, number: int, place: str, folder: Path) -> Record:
        """The record of a row.

        Raises:
            UserError: If the row is not what it should be; says why, not where.
        """
        options = options_of(row.get(self.columns.options)) if self.columns.options else ()
        question = self.ask(row, self.columns, options)
        answer = row.get(self.columns.answer)
        for column, text in ((self.columns.question, question), (self.columns.answer, str(answer))):
            _refuse_half_characters(column, text)
        target, verifier = self.rule(answer, options, row)
        images = images_of(row, self.columns)
        if len(images) < self.least_images:
            raise UserError(f"`{'` or `'.join(self.columns.images)}` must hold an image; got none.")
        sizes = tuple(image_size(image, folder) for image in images)
        name = f"{self.dataset}:{number}"
        parts = [text_of(row, column) for column in self.columns.question_id]
        used = {self.columns.question, self.columns.answer, *self.columns.images}
        extras: dict[str, Any] = {key: kept for key, kept in row.items() if key not in used and _is_plain(kept)}
        extras |= {"dataset": self.dataset, "question_id": joined_id(parts) or name}
        return Record(name, place, question, target, verifier, tuple(images), sizes, folder, extras)


def joined_id(parts: Sequence[str]) -> str:
    r"""One id of several parts, different for different parts: of several, a slash within one is written `\/`.

    >>> joined_id(["a/b"]), joined_id(["chart", "1"]), joined_id(["x/y", "z"]), joined_id(["x", "y/z"])
    ('a/b', 'chart/1', 'x\\/y/z', 'x/y\\/z')
    """
    if len(parts) == 1:
        return parts[0]
    return "/".join(part.replace("\\", "\\\\").replace("/", "\\/") for part in parts)


def _refuse_half_characters(column: str, text: str) -> None:
    """Refuse half a surrogate pair, which JSON can spell, and no tokenizer takes."""
    half = next((place for place, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)
    if half is not None:
        raise UserError(
            f"`{column}` must be text of whole characters; its character {half + 1} is half of a surrogate pair, "
            f"{text[half]!a}. Write the character itself, or leave the half out."
        )


def text_of(row: Row, column: str) -> str:
    """The text or number of a cell, as a text that is the same for 7, 7.0 and " 7 ".

    Raises:
        UserError: If it holds anything else or nothing.
    """
    found = row.get(column)
    if not isinstance(found, str | int | float) or (isinstance(found, float) and math.isnan(found)):
        raise UserError(f"`{column}` must be a text or a number; got {found!r:.80}.")
    if not str(found).strip():
        raise UserError(f"`{column}` must not be empty.")
    return cell_text(found)


def images_of(row: Row, columns: Columns) -> list[Any]:
    """The images of a row, in the order of their columns."""
    return [image for column in columns.images for image in stored_images(row.get(column))]


def question_of(row: Row, columns: Columns) -> str:
    """The question without its image marks.

    Raises:
        UserError: If there is none, or its marks are not those of the images.
    """
    images = len(images_of(row, columns))
    text = text_of(row, columns.question)
    elsewhere = " ".join(str(cell) for name, cell in row.items() if name not in columns.images and _is_plain(cell))
    check_marks(f"{text} {row.get(columns.options or '', '')}", elsewhere, images)
    return without_placeholders(text, images)


def check_marks(asked: str, elsewhere: str, images: int) -> None:
    """Refuse marks that do not ask for just the images of a row; without any mark, there may be any images.

    A mark without a number stands for one image. One with a number may stand in several places, and some only in
    another text of the row, such as an explanation.

    Args:
        asked: The question and its options as they are written.
        elsewhere: The other texts of the row.
        images: How many images it has.

    Raises:
        UserError: If a mark has no image, or an image no mark.
    """
    marks = _IMAGE.findall(asked)
    have = f"the row has {images} image{'' if images == 1 else 's'}"
    rule = "Let each mark stand for an image that is there, or write none."
    numbered = {int(mark) for mark in marks if mark}
    if beyond := sorted(number for number in numbered if not 1 <= number <= images):
        raise UserError(f"the question asks for <image {beyond[0]}>, but {have}. {rule}")
    if (plain := marks.count("")) not in (0, images):
        raise UserError(f"the question has {plain} `<image>` mark{'' if plain == 1 else 's'}, but {have}. {rule}")
    if numbered and not plain:
        numbered |= {int(mark) for mark in _IMAGE.findall(elsewhere) if mark}
        if unasked := sorted({*range(1, images + 1)} - numbered):
            raise UserError(f"no mark of the question asks for <image {unasked[0]}>, but {have}. {rule}")


def options_of(cell: Any) -> tuple[str, ...]:
    """The options of a cell: a list, a list of one list, or a text that is either in Python, as MMMU keeps them.

    >>> options_of("['$6', '$7']"), options_of("[['one', 2]]"), options_of(None)
    (('$6', '$7'), ('one', '2'), ())

    Raises:
        UserError: If it holds neither.
    """
    found = cell
    if isinstance(cell, str):
        try:
            found = ast.literal_eval(cell.strip() or "[]")
        except UNREADABLE_LITERAL as error:
            raise UserError(f"options must be a list; got {cell!r:.80}.") from error
    if found is None:
        return ()
    if isinstance(found, list | tuple) and len(found) == 1 and isinstance(found[0], list | tuple):
        found = found[0]
    if not isinstance(found, list | tuple) or not all(isinstance(option, str | int | float) for option in found):
        raise UserError(f"options must be a list of texts; got {cell!r:.80}.")
    if len(found) > len(LETTERS):
        raise UserError(f"options must be at most {len(LETTERS)}, since each has a letter; got {len(found)}.")
    return tuple(without_placeholders(cell_text(option), images=2) for option in found)


def without_placeholders(text: str, images: int) -> str:
    """A text without `<image>` marks, which processors would take for images of their own.

    Images come before the text; where there are several, a mark with a number becomes a reference to one of them.

    >>> without_placeholders("<image>Find x.", 1), without_placeholders("<image 1> Is it like <image 2>?", 2)
    ('Find x.', '(image 1) Is it like (image 2)?')
    """

    def reference(found: re.Match[str]) -> str:
        return f" (image {found[1]}) " if found[1] and images > 1 else " "

    marked = _IMAGE.sub(reference, text)
    return re.sub(r"(?<=\)) (?=[?!.,;:])", "", marked).strip() if marked != text else text.strip()


def prompts_of(records: Sequence[Record], size: ImageSize = ImageSize()) -> PromptBatch:
    """Rows as prompts, their images decoded.

    Raises:
        UserError: If an image cannot be decoded; names file and row.
    """
    return PromptBatch(
        ids=tuple(record.name for record in records),
        images=tuple(_decoded(record, size) for record in records),
        questions=tuple(record.question for record in records),
        targets=tuple(record.target for record in records),
        extras=tuple(record.extras for record in records),
        verifiers=tuple(record.verifier for record in records),
    )


def _decoded(record: Record, size: ImageSize) -> tuple[Any, ...]:
    try:
        return tuple(image_tensor(image, record.folder, size) for image in record.images)
    except UserError as error:
        raise UserError(f"{record.place}: {error}") from error


def _is_plain(cell: Any) -> bool:
    """Whether a cell holds nothing but texts and numbers, so that no image travels twice."""
    if isinstance(cell, Mapping):
        return all(_is_plain(item) for item in cell.values())
    if isinstance(cell, list | tuple):
        return all(_is_plain(item) for item in cell)
    return isinstance(cell, _PLAIN)
