"""What the columns of a sheet mean: a class for each program that writes such sheets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from vlcal.evaluation.outputs.column import Floats, Names, confidence_column, name_column, verdict_column
from vlcal.evaluation.outputs.outputs import Outputs, Request, outputs_of
from vlcal.evaluation.outputs.scale import Scale
from vlcal.evaluation.outputs.sheet import Sheet
from vlcal.evaluation.outputs.statement import GrammarStatement

ONE_DATASET = "all"


class LogFormat(ABC):
    """A program's way of writing what a model answered; what the user named comes before what the format knows."""

    truths: ClassVar[Mapping[str, str]] = {}
    """The format's own columns of `read_right` and `reasoned_right`."""

    @abstractmethod
    def recognises(self, sheet: Sheet) -> bool:
        """Whether the columns are those of this program."""

    @abstractmethod
    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """Confidences in [0, 1] by kind, from where this program puts them."""

    @abstractmethod
    def correct(self, sheet: Sheet) -> Floats:
        """The verdict on each answer, from where this program puts it."""

    @abstractmethod
    def questions(self, sheet: Sheet) -> Names:
        """The question of each row."""

    def datasets(self, sheet: Sheet) -> Names:
        """The data set of each row."""
        return np.full(len(sheet), ONE_DATASET)

    def scale(self, sheet: Sheet, request: Request) -> Scale:
        """What numbers in columns that the user named are written on."""
        return request.scale

    def read(self, sheet: Sheet, request: Request) -> Outputs:
        """The outputs in a sheet.

        Raises:
            ValueError: If a column is missing or a value is not what it should be; names file, row and column.
        """
        if request.confidences:
            found = confidences_in(sheet, request.confidences, self.scale(sheet, request))
        else:
            found = self.confidences(sheet, request)
        truths = {"correct": self.correct(sheet) if request.correct is None else verdict_column(sheet, request.correct)}
        for truth, name in self._truths(sheet, request).items():
            values = verdict_column(sheet, name)
            truths |= {} if np.isnan(values).all() else {truth: values}
        question = self.questions(sheet) if request.question is None else name_column(sheet, request.question)
        dataset = self.datasets(sheet) if request.dataset is None else name_column(sheet, request.dataset)
        return outputs_of(sheet, found, truths, question, dataset)

    def _truths(self, sheet: Sheet, request: Request) -> dict[str, str]:
        """The columns of both finer truths: as the user named them, or the format's own if they are there."""
        own = {truth: name for truth, name in self.truths.items() if name in sheet.columns}
        given = {"read_right": request.read_right, "reasoned_right": request.reasoned_right}
        return own | {truth: name for truth, name in given.items() if name is not None}


def confidences_in(sheet: Sheet, columns: Mapping[str, str], scale: Scale) -> dict[str, Floats]:
    """Confidences in [0, 1] by kind, from the column that each kind stands in."""
    in_unit = scale(sheet, {name: confidence_column(sheet, name) for name in columns.values()})
    return {kind: in_unit[name] for kind, name in columns.items()}


def stated_in(sheet: Sheet, column: str, said: Sequence[str], request: Request) -> dict[str, Floats]:
    """Confidences in [0, 1] by kind, from the text of the responses.

    Raises:
        ValueError: If not one response states any: more likely they are looked for in the wrong way.
    """
    found = (request.statement or GrammarStatement())(sheet, column, said)
    if all(np.isnan(values).all() for values in found.values()):
        raise ValueError(
            f"{sheet.path}: no response in `{column}` states a confidence that was looked for. Say how it stands "
            "there, --pattern '(?P<confidence>[0-9]+)', or name a column, --confidence NAME."
        )
    return found


def texts(sheet: Sheet, name: str) -> list[str]:
    """A column of texts; an empty cell is an empty text, and a cell that Excel took for a number is its digits."""
    return ["" if cell is None else str(cell) for cell in sheet[name]]


def is_filled(sheet: Sheet, name: str) -> bool:
    """Whether the column is there and says anything."""
    return any(cell not in (None, "") for cell in sheet.columns.get(name, ()))


def first_of(sheet: Sheet, usual: Sequence[str]) -> str | None:
    """The first of the usual names that the sheet has."""
    return next((name for name in usual if name in sheet.columns), None)
