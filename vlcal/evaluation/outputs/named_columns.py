"""Tables whose columns say what they are, vlcal's own prediction files among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from vlcal.evaluation.outputs.column import Floats, Names, confidence_column, name_column, verdict_column
from vlcal.evaluation.outputs.log_format import LogFormat, confidences_in, first_of, is_filled, stated_in, texts
from vlcal.evaluation.outputs.outputs import Outputs, Request
from vlcal.evaluation.outputs.scale import DeclaredScale, Scale
from vlcal.evaluation.outputs.sheet import Sheet


class NamedColumns(LogFormat):
    """Any table: columns of the usual names, or of those that the user gives."""

    truths: ClassVar[Mapping[str, str]] = {"read_right": "read_right", "reasoned_right": "reasoned_right"}
    kinds: ClassVar[Mapping[str, Sequence[str]]] = {
        "overall": ("confidence", "overall", "overall_confidence"),
        "visual": ("visual", "visual_confidence", "vision_confidence"),
        "reasoning": ("reasoning", "reasoning_confidence"),
    }
    identities: ClassVar[Sequence[str]] = ("question_id", "id", "question")
    responses: ClassVar[Sequence[str]] = ("response", "prediction", "completion")

    def recognises(self, sheet: Sheet) -> bool:
        """Every sheet is a table."""
        return True

    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """From columns of the usual names; where there are none, from the text of the responses."""
        found = {kind: first_of(sheet, usual) for kind, usual in self.kinds.items()}
        columns = {kind: name for kind, name in found.items() if name is not None}
        if columns and request.statement is None:
            return confidences_in(sheet, columns, self.scale(sheet, request))
        response = first_of(sheet, self.responses)
        if response is None:
            raise ValueError(
                f"{sheet.path}: a column `confidence` is asked for; it has {', '.join(sheet.columns)}. Name yours: "
                "--confidence NAME."
            )
        return stated_in(sheet, response, texts(sheet, response), request)

    def correct(self, sheet: Sheet) -> Floats:
        """From the column `correct`."""
        if "correct" not in sheet.columns:
            raise ValueError(
                f"{sheet.path}: a column `correct` is asked for; it has {', '.join(sheet.columns)}. Name yours: "
                "--correct NAME."
            )
        return verdict_column(sheet, "correct")

    def questions(self, sheet: Sheet) -> Names:
        """From a column of a usual name; without one every row is a question of its own."""
        name = first_of(sheet, [name for name in self.identities if is_filled(sheet, name)])
        return np.array(sheet.rows).astype(np.str_) if name is None else name_column(sheet, name)

    def datasets(self, sheet: Sheet) -> Names:
        """From the column `dataset`, if there is one."""
        return name_column(sheet, "dataset") if is_filled(sheet, "dataset") else super().datasets(sheet)


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
            raise ValueError(
                f"`scale` must be 1 for {sheet.path}, since vlcal wrote it with confidences from 0 to 1; got "
                f"{request.scale.declared}."
            )
        return DeclaredScale(1)
