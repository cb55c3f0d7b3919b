"""What a folder or file of questions about images holds, found out without a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vlcal.data.bad_rows import SkipBadRows
from vlcal.data.images import open_image
from vlcal.data.questions import Questions
from vlcal.data.records import Columns, RowReader, images_of
from vlcal.data.rules import AnswerRule, AsWritten, ByIndex, ByLetter, ByText
from vlcal.data.sources import Csv, JsonLines, Parquet, Source, draws
from vlcal.data.tables import Table, csv_table, json_table, parquet_table
from vlcal.errors import UserError
from vlcal.verifiers import ExactVerifier, MathVerifier, NumericVerifier, Verifier, YesNoVerifier
from vlcal.verifiers.typed import number
from vlcal.verifiers.words import yes_or_no

KINDS: dict[str, tuple[type[Source], Callable[[Path], Table]]] = {
    ".csv": (Csv, csv_table),
    ".tsv": (Csv, csv_table),
    ".jsonl": (JsonLines, json_table),
    ".json": (JsonLines, json_table),
    ".parquet": (Parquet, parquet_table),
}
TRAIN, VALIDATION = ("train",), ("validation", "valid", "val", "dev", "test")
# Names of columns in published data sets, the usual one first; compared without case.
USUAL = {
    "question": ("question", "problem", "query", "prompt", "instruction", "text", "q"),
    "answer": ("answer", "label", "target", "solution", "ground_truth", "a"),
    "images": ("images", "image", "image_path", "file_name", "filename", "path", "photo", "picture", "img"),
}
OPTIONS = ("options", "choices")

_MATHEMATICS = set("\\^=/*+")


@dataclass(frozen=True)
class Answers:
    """How right answers are written.

    Args:
        kind: In words.
        rule: Reads the cells.
        verifier: Judges responses where the rule brings no verifier; None where it does.
    """

    kind: str
    rule: type[AnswerRule]
    verifier: type[Verifier] | None = None


@dataclass(frozen=True)
class Inspection:
    """A table of questions as `vlcal.data` reads it.

    Args:
        path: The table.
        source: The kind of source that reads it.
        columns: Which columns hold what.
        answers: How right answers are written.
        questions: The rows that can be used.
        sizes: Width and height of each image of those, in the order of the rows.
    """

    path: Path
    source: type[Source]
    columns: Columns
    answers: Answers
    questions: Questions
    sizes: tuple[tuple[int, int], ...]

    def drawn_by(self, share: float) -> str | None:
        """The column to hold out a share by, so that no image is on both sides; None for the text of the question.

        Questions of their own about the same image share what is seen, and the same question about two images does not.
        The question is drawn by only where there are too few different images.

        Raises:
            UserError: If no draw leaves at least one question on both sides.
        """
        count = len(self.questions)
        for by in (*self.columns.images, None):
            held = sum(at < share for at in draws(self.questions, by))
            if share / 2 <= held / count <= 2 * share and 0 < held < count:
                return by
        raise UserError(
            f"{self.path} must hold enough different questions or images to hold a share of {share:g} out; its "
            f"{count} rows do not. Name files train and validation in one folder, or add rows."
        )


def find_tables(path: Path) -> tuple[Path, Path | None]:
    """The table to learn from, and the one to be judged on where a folder holds both.

    Raises:
        UserError: If there is no table, or several that do not say by their names which is which.
    """
    if path.is_file():
        if path.suffix.lower() not in KINDS:
            raise UserError(f"`path` must end in {', '.join(KINDS)}; got {path}.")
        return path, None
    if not path.is_dir():
        raise UserError(f"`path` must be a table or a folder with one; {path} is not there.")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in KINDS and file.is_file())
    if not found:
        raise UserError(
            f"`path` must be a table or a folder with one; {path} holds none that ends in {', '.join(KINDS)}. Write "
            "one row per question, such as CSV columns image, question, answer; paths of images are relative to it."
        )
    train, validation = _named(found, TRAIN), _named(found, VALIDATION)
    if len(found) == 1:
        return found[0], None
    if len(train) == len(validation) == 1 and len(found) == 2:
        return train[0], validation[0]
    names = ", ".join(file.name for file in found)
    raise UserError(f"`path` must hold one table, or one named train and one named validation; {path} has {names}.")


def table_of(path: Path) -> Table:
    """The rows of a table, by the end of its name.

    Raises:
        UserError: If the name has another end, or the file cannot be read.
    """
    if path.suffix.lower() not in KINDS:
        raise UserError(f"`path` must end in {', '.join(KINDS)}; got {path}.")
    return KINDS[path.suffix.lower()][1](path)


def inspect_table(path: Path, named: Mapping[str, str | None] = MappingProxyType({})) -> Inspection:
    """What a table holds.

    Args:
        path: The table.
        named: Columns of question, answer and images; those left out or None are recognised by their names.

    Raises:
        UserError: If there is no row, a column cannot be found, or too many rows cannot be used.
    """
    table = table_of(path)
    columns = guess_columns(table, named)
    answers = answers_of(table, columns)
    reader = RowReader(path.name, columns, answers.rule())
    questions = Questions(table, reader, SkipBadRows())
    sizes = tuple(size_of(image, table.folder) for row in questions.rows for image in images_of(table[row], columns))
    return Inspection(path, KINDS[path.suffix.lower()][0], columns, answers, questions, sizes)


def guess_columns(
    table: Table, named: Mapping[str, str | None] = MappingProxyType({}), kinds: Sequence[str] = tuple(USUAL)
) -> Columns:
    """The columns of a table, by their names.

    Args:
        table: The rows.
        named: Columns of question, answer and images; those left out or None are recognised by their names.
        kinds: Which of these three the table must have.

    Raises:
        UserError: If one cannot be recognised or is not there, or there is no row.
    """
    if not len(table):
        raise UserError(f"{table.name} holds no row. Write one question a row.")
    present = list(table[0])
    found = {kind: named.get(kind) or _first(present, USUAL[kind]) for kind in kinds}
    if missing := [kind for kind, name in found.items() if name not in present]:
        raise UserError(
            f"{table.name} must have a column for each of {', '.join(found)}, under a usual name or one that is given; "
            f"it has {', '.join(present)}, and none for {', '.join(missing)}. Rename it, or name it by "
            f"`--{missing[0]}` of `vlcal init`."
        )
    question, answer, images = (found.get(kind) or "" for kind in USUAL)
    return Columns(question, answer, (images,), _first(present, OPTIONS))


def answers_of(table: Table, columns: Columns) -> Answers:
    """How the answers of a table are written: the strictest kind that reads every one."""
    rows = [table[index] for index in range(len(table))]
    cells = [str(row.get(columns.answer)).strip() for row in rows if row.get(columns.answer) not in (None, "")]
    if columns.options is not None:
        reads = (
            Answers("the text of an option", ByText),
            Answers("the letter of an option", ByLetter),
            Answers("the place of an option, counted from 0", ByIndex),
        )
        return next((one for one in reads if _reads_all(one.rule(), table, columns)), reads[0])
    if all(yes_or_no(cell) is not None for cell in cells):
        return Answers("yes or no", AsWritten, YesNoVerifier)
    if all(len(cell) == 1 and cell in "ABCDEFGHIJ" for cell in cells):
        return Answers("the letter of an option that stands in the question", ByLetter)
    if all(number(cell) is not None for cell in cells):
        return Answers("a number", AsWritten, NumericVerifier)
    if any(number(cell) is not None or _MATHEMATICS & set(cell) for cell in cells):
        return Answers("mathematics, or numbers and words", AsWritten, MathVerifier)
    return Answers("words", AsWritten, ExactVerifier)


def size_of(image: Any, folder: Path) -> tuple[int, int]:
    """Width and height of a stored image, from its header."""
    opened = open_image(image, folder)
    size: tuple[int, int] = opened.size
    if opened is not image:
        opened.close()
    return size


def _reads_all(rule: AnswerRule, table: Table, columns: Columns) -> bool:
    reader = RowReader(table.name, columns, rule)
    for index in range(len(table)):
        try:
            reader(table[index], index + 1, table.place(index), table.folder)
        except UserError:
            return False
    return True


def _first(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The column with the most usual of these names."""
    folded = {name.strip().lower(): name for name in names}
    return next((folded[name] for name in usual if name in folded), None)


def _named(files: Sequence[Path], starts: tuple[str, ...]) -> list[Path]:
    return [file for file in files if file.stem.lower().startswith(starts)]
