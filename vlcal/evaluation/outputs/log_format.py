"""What the columns of a sheet mean: the base of all formats, and tables whose columns say it by their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.outputs.column import (
    DeclaredScale,
    Floats,
    Names,
    Scale,
    confidence_column,
    name_column,
    text_column,
    verdict_column,
)
from vlcal.evaluation.outputs.outputs import ONE_DATASET, Outputs, Request, outputs_of
from vlcal.evaluation.outputs.sheet import NotOutputs, Sheet
from vlcal.evaluation.outputs.statement import GrammarStatement


class LogFormat(ABC):
    """A program's way of writing what a model answered; what the user named comes before what the format knows."""

    truths: ClassVar[Mapping[str, Sequence[str]]] = {}
    """The format's own columns of `perception_correct` and `reasoning_correct`; the first that is filled counts."""

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
            NotOutputs: If there is no column with confidences or verdicts, or no filter to choose.
            UserError: If a value is not what it should be; names file, row and column.
        """
        if request.filter is not None:
            raise NotOutputs(f"`filter` chooses among the filters of a sample log; {sheet.path} is no such log.")
        stated = self._stated(sheet, request)
        truths = {"correct": self.correct(sheet) if request.correct is None else verdict_column(sheet, request.correct)}
        for truth, name in self._truths(sheet, request).items():
            values = verdict_column(sheet, name)
            truths |= {} if np.isnan(values).all() else {truth: values}
        question = self.questions(sheet) if request.question is None else name_column(sheet, request.question)
        dataset = self.datasets(sheet) if request.dataset is None else name_column(sheet, request.dataset)
        return outputs_of(sheet, stated, truths, question, dataset)

    def _stated(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """The confidences: from the columns or the texts that the user named, or from where the program puts them."""
        if request.confidences:
            return confidences_in(sheet, request.confidences, self.scale(sheet, request))
        if request.response is not None:
            return stated_in(sheet, request.response, text_column(sheet, request.response), request)
        return self.confidences(sheet, request)

    def _truths(self, sheet: Sheet, request: Request) -> dict[str, str]:
        """The columns of both finer truths: as the user named them, or the format's own if they are there."""
        own = {truth: first_filled(sheet, names) for truth, names in self.truths.items()}
        named = {"perception_correct": request.perception_correct, "reasoning_correct": request.reasoning_correct}
        chosen = {truth: named[truth] or own.get(truth) for truth in named}
        return {truth: name for truth, name in chosen.items() if name is not None}


class NamedColumns(LogFormat):
    """Any table: columns of the usual names, or of those that the user gives."""

    # The second name of each is the one in older prediction files of vlcal.
    truths: ClassVar[Mapping[str, Sequence[str]]] = {
        "perception_correct": ("perception_correct", "read_right"),
        "reasoning_correct": ("reasoning_correct", "reasoned_right"),
    }
    kinds: ClassVar[Mapping[str, Sequence[str]]] = {
        "overall": ("confidence", "overall", "overall_confidence"),
        "visual": ("visual", "visual_confidence", "vision_confidence"),
        "reasoning": ("reasoning", "reasoning_confidence"),
    }
    identities: ClassVar[Sequence[str]] = ("question_id", "prompt_id", "problem_id", "group", "id", "question")
    responses: ClassVar[Sequence[str]] = ("response", "prediction", "completion")

    def recognises(self, sheet: Sheet) -> bool:
        """Every sheet is a table."""
        return True

    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """From columns of the usual names; where there are none, from the text of the responses."""
        usual = {kind: first_of(sheet, names) for kind, names in self.kinds.items()}
        columns = {kind: name for kind, name in usual.items() if name is not None}
        if columns and request.statement is None:
            return confidences_in(sheet, columns, self.scale(sheet, request))
        response = first_of(sheet, self.responses)
        if response is None:
            raise NotOutputs(
                f"{sheet.path}: a column `confidence` is asked for; it has {', '.join(sheet.columns)}. Name yours: "
                "--confidence NAME, or --response NAME for texts that state it."
            )
        return stated_in(sheet, response, text_column(sheet, response), request)

    def correct(self, sheet: Sheet) -> Floats:
        """From the column `correct`."""
        if "correct" not in sheet.columns:
            raise NotOutputs(
                f"{sheet.path}: a column `correct` is asked for; it has {', '.join(sheet.columns)}. Name yours: "
                "--correct NAME."
            )
        return verdict_column(sheet, "correct")

    def questions(self, sheet: Sheet) -> Names:
        """From a column of a usual name; without one every row is a question of its own."""
        name = first_filled(sheet, self.identities)
        return np.array(sheet.rows).astype(np.str_) if name is None else name_column(sheet, name)

    def datasets(self, sheet: Sheet) -> Names:
        """From the column `dataset`, if there is one."""
        return super().datasets(sheet) if first_filled(sheet, ["dataset"]) is None else name_column(sheet, "dataset")


class PredictionFile(NamedColumns):
    """What vlcal itself writes: confidences are in [0, 1], whatever they are."""

    def recognises(self, sheet: Sheet) -> bool:
        return {"overall", "visual", "reasoning", "correct", "well_formed", "response"} <= set(sheet.columns)

    def read(self, sheet: Sheet, request: Request) -> Outputs:
        """The outputs, and the visual certainty where it was measured."""
        outputs = super().read(sheet, request)
        if "certainty_score" not in sheet.columns:
            return outputs
        certainty = confidence_column(sheet, "certainty_score")
        return outputs if np.isnan(certainty).all() else replace(outputs, certainty=certainty)

    def scale(self, sheet: Sheet, request: Request) -> Scale:
        """0 to 1."""
        if request.scale.declared not in (None, 1):
            raise UserError(
                f"`scale` must be 1 for {sheet.path}, since vlcal wrote it with confidences from 0 to 1; got "
                f"{request.scale.declared}."
            )
        return DeclaredScale(1)


def confidences_in(sheet: Sheet, columns: Mapping[str, str], scale: Scale) -> dict[str, Floats]:
    """Confidences in [0, 1] by kind, from the column that each kind stands in."""
    in_unit = scale(sheet, {name: confidence_column(sheet, name) for name in columns.values()})
    return {kind: in_unit[name] for kind, name in columns.items()}


def stated_in(sheet: Sheet, column: str, responses: Sequence[str], request: Request) -> dict[str, Floats]:
    """Confidences in [0, 1] by kind, from the text of the responses.

    Raises:
        UserError: If not one response states any: more likely they are read in the wrong way.
    """
    stated = (request.statement or GrammarStatement())(sheet, column, responses)
    if all(np.isnan(values).all() for values in stated.values()):
        raise UserError(
            f"{sheet.path}: no response in `{column}` states a confidence in the form that was read. Give its form, "
            "--pattern '(?P<confidence>[0-9]+)', another column of texts, --response NAME, or a column of numbers, "
            "--confidence NAME."
        )
    return stated


def first_of(sheet: Sheet, names: Sequence[str]) -> str | None:
    """The first of the names that is a column."""
    return next((name for name in names if name in sheet.columns), None)


def first_filled(sheet: Sheet, names: Sequence[str]) -> str | None:
    """The first of the names that is a column and not empty."""
    return next((name for name in names if any(cell not in (None, "") for cell in sheet.columns.get(name, ()))), None)
