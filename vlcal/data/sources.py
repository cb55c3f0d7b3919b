"""Where questions come from: files, the hub, and shares of either."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path

from vlcal.data.bad_rows import BadRows
from vlcal.data.questions import Questions, RunCheck
from vlcal.data.records import Columns, RowReader
from vlcal.data.rules import AnswerRule, AsWritten
from vlcal.data.tables import MissingTable, Table, csv_table, hub_table, json_table, parquet_table
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults


class Source(ABC):
    """Questions to learn from or to be judged on."""

    @abstractmethod
    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions, every row checked.

        Args:
            bad_rows: What happens to rows that are not what they should be.
            check: What the run asks of every record.

        Raises:
            UserError: If there are none, or bad rows that are refused.
        """


class JsonLines(Source):
    """A file with one JSON object a line, or another JSON file of objects; paths of images are relative to it.

    Args:
        path: The file.
        columns: Which keys hold what.
        rule: How the right answer is written, and what judges responses against it.
        image_folder: What paths of images are relative to, and where they must lie; None for the folder of `path`.
    """

    @fresh_defaults
    def __init__(
        self,
        path: Path,
        columns: Columns = Columns(),
        rule: AnswerRule = AsWritten(),
        image_folder: Path | None = None,
    ) -> None:
        if not path.is_file():
            raise MissingTable(f"`path` must be a JSON file; {path} is not there.")
        self.path = path
        self.image_folder = image_folder
        self.reader = RowReader(path.name, columns, rule)

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions of the file."""
        return Questions(in_folder(json_table(self.path), self.image_folder), self.reader, bad_rows, check)


class Csv(Source):
    """A CSV file, or a TSV file by its name, whose first row names the columns; paths of images are relative to it.

    Args:
        path: The file.
        columns: Which columns hold what.
        rule: How the right answer is written, and what judges responses against it.
    """

    @fresh_defaults
    def __init__(self, path: Path, columns: Columns = Columns(), rule: AnswerRule = AsWritten()) -> None:
        if not path.is_file():
            raise MissingTable(f"`path` must be a CSV or TSV file; {path} is not there.")
        self.path = path
        self.reader = RowReader(path.name, columns, rule)

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions of the file."""
        return Questions(csv_table(self.path), self.reader, bad_rows, check)


class Parquet(Source):
    """A parquet file, or all parquet files in and below a folder; images are stored in it, or paths relative to it.

    Args:
        path: File or folder. A folder with splits that must stay apart is for `Hub`.
        columns: Which columns hold what.
        rule: How the right answer is written, and what judges responses against it.
        image_folder: What paths of images are relative to, and where they must lie; None for the folder of `path`.
    """

    @fresh_defaults
    def __init__(
        self,
        path: Path,
        columns: Columns = Columns(),
        rule: AnswerRule = AsWritten(),
        image_folder: Path | None = None,
    ) -> None:
        if not path.exists():
            raise MissingTable(f"`path` must be a parquet file or a folder of them; {path} is not there.")
        self.path = path
        self.image_folder = image_folder
        self.reader = RowReader(path.name, columns, rule)

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions of the file or folder."""
        return Questions(in_folder(parquet_table(self.path), self.image_folder), self.reader, bad_rows, check)


class Hub(Source):
    """A data set on the hub, or a local folder that is laid out as one; fetched when it is first needed.

    Args:
        path: Id such as `hiyouga/geometry3k`, or a folder.
        split: Name of the split; several are joined by `+`.
        name: Configuration, where the data set has several.
        revision: Commit or tag, for a run that can be repeated.
        columns: Which columns hold what.
        rule: How the right answer is written, and what judges responses against it.
    """

    @fresh_defaults
    def __init__(
        self,
        path: str,
        split: str = "train",
        name: str | None = None,
        revision: str | None = None,
        columns: Columns = Columns(),
        rule: AnswerRule = AsWritten(),
    ) -> None:
        self.path = path
        self.split = split
        self.name = name
        self.revision = revision
        self.reader = RowReader(path, columns, rule)

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions of the split."""
        return Questions(hub_table(self.path, self.name, self.split, self.revision), self.reader, bad_rows, check)


class HeldOut(Source):
    """A share of another source to be judged on, drawn by the text of the question: what `Remaining` leaves out.

    The same question never lands on both sides, whatever the order of the rows and whatever was added to them. Where
    all images are asked the same question, `by` draws by the image.

    Args:
        source: Where the questions come from.
        share: Share that is held out, in (0, 1).
        by: Column whose cell is drawn by; left out, the text of the question.
    """

    def __init__(self, source: Source, share: float = 0.025, by: str | None = None) -> None:
        self.source = source
        self.share = checked_share(share)
        self.by = by

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions that are held out."""
        return held_out(self.source.questions(bad_rows, check), self.share, self.by)


class Remaining(Source):
    """What `HeldOut` with the same settings leaves to learn from.

    Args:
        source: Where the questions come from.
        share: Share that is held out, in (0, 1).
        by: Column whose cell is drawn by; left out, the text of the question.
    """

    def __init__(self, source: Source, share: float = 0.025, by: str | None = None) -> None:
        self.source = source
        self.share = checked_share(share)
        self.by = by

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions that are not held out."""
        found = self.source.questions(bad_rows, check)
        return found.select([index for index, at in enumerate(draws(found, self.by)) if at >= self.share])


def in_folder(table: Table, image_folder: Path | None) -> Table:
    """The table, with its images in a folder of their own where one is given."""
    table.folder = image_folder or table.folder
    return table


def checked_share(share: float) -> float:
    """The share itself.

    Raises:
        UserError: If it leaves nothing on one side.
    """
    if not 0 < share < 1:
        raise UserError(f"`share` must be between 0 and 1, so that both sides get some; got {share}.")
    return share


def held_out(questions: Questions, share: float, by: str | None = None) -> Questions:
    """The questions whose draw is below the share.

    Raises:
        UserError: If there are none.
    """
    kept = [index for index, at in enumerate(draws(questions, by)) if at < share]
    if not kept:
        raise UserError(f"`share` must hold out at least one of {len(questions)} questions; got {share}. Raise it.")
    return questions.select(kept)


def draws(questions: Questions, by: str | None = None) -> list[float]:
    """A number in [0, 1) for each question: `draw` of its text, or of its cell in the column `by`.

    Raises:
        UserError: If a question has no such cell.
    """
    if by is None:
        return [draw(text) for text in questions.texts]
    cells = [questions.table[row].get(by) for row in questions.rows]
    if None in cells:
        place = questions.table.place(questions.rows[cells.index(None)])
        raise UserError(f"`by` must name a column that every row fills; {place} has no `{by}`.")
    return [draw(str(cell)) for cell in cells]


def draw(text: str) -> float:
    """A number in [0, 1) that is the same for the same text on every machine.

    >>> draw("Find x.") == draw("Find x."), 0 <= draw("Find y.") < 1
    (True, True)
    """
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big") / 2**48
