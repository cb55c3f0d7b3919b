"""A data set of your own: a folder of images whose names hold the right answer, such as `dots_3.png`."""

from pathlib import Path
from typing import Any

from vlcal.data import AsWritten, BadRows, Columns, Source
from vlcal.data.questions import Questions, RunCheck
from vlcal.data.records import RowReader
from vlcal.data.tables import Table
from vlcal.errors import UserError


class ImageNames(Table):
    """One row for each image of a folder, in the order of their names."""

    def __init__(self, folder: Path, question: str) -> None:
        super().__init__(str(folder), folder)
        self.question = question
        self.images = sorted(folder.glob("*_*.png"))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        kind, _, answer = self.images[index].stem.rpartition("_")
        return {"images": self.images[index].name, "question": self.question, "answer": answer, "kind": kind}


class NamedImages(Source):
    """Asks the same question about every image `KIND_ANSWER.png` of a folder.

    Args:
        path: The folder.
        question: What is asked about each image.
    """

    def __init__(self, path: Path, question: str) -> None:
        if not path.is_dir():
            raise UserError(f"`path` must be a folder of images; {path} is none.")
        self.path = path
        self.question = question

    def questions(self, bad_rows: BadRows, check: RunCheck = RunCheck()) -> Questions:
        """The questions, every row checked."""
        reader = RowReader(self.path.name, Columns(), AsWritten())
        return Questions(ImageNames(self.path, self.question), reader, bad_rows, check)
