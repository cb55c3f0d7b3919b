"""The tables of VLMEvalKit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from vlcal.evaluation.outputs.column import Floats, Names, name_column, verdict_column
from vlcal.evaluation.outputs.log_format import LogFormat, first_of, stated_in, texts
from vlcal.evaluation.outputs.outputs import Request
from vlcal.evaluation.outputs.sheet import Sheet


class VLMEvalKitOutput(LogFormat):
    """The table that an evaluation of VLMEvalKit leaves: `index`, `prediction`, and a verdict per row.

    Which column holds the verdict depends on the data set: `hit` for multiple choice, `score` for yes or no and most
    free answers, `eval_score` for the older VQA sets.
    """

    judgements: ClassVar[Sequence[str]] = ("hit", "score", "verifier_match", "verifier_score", "eval_score")

    def recognises(self, sheet: Sheet) -> bool:
        return {"index", "prediction"} <= set(sheet.columns) and "confidence" not in sheet.columns

    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """From the text of the prediction."""
        return stated_in(sheet, "prediction", texts(sheet, "prediction"), request)

    def correct(self, sheet: Sheet) -> Floats:
        """From the first of the usual columns that is there."""
        name = first_of(sheet, self.judgements)
        if name is None:
            raise ValueError(
                f"{sheet.path}: predictions that are not judged yet: none of {', '.join(self.judgements)} is there. "
                "Give the file that the evaluation wrote beside it, such as ..._result.xlsx or ..._score.xlsx."
            )
        return verdict_column(sheet, name)

    def questions(self, sheet: Sheet) -> Names:
        """The index within the data set."""
        return name_column(sheet, "index")
