"""What Inspect writes about the samples of an evaluation (UK AI Security Institute)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.outputs.column import Floats, Names, name_column, verdict_of
from vlcal.evaluation.outputs.log_format import LogFormat, stated_in
from vlcal.evaluation.outputs.outputs import Outputs, Request
from vlcal.evaluation.outputs.sheet import NotOutputs, Sheet

GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "no": 0.0}
"""Inspect's own values of correct, partially correct, incorrect and no answer, and of a question of yes or no."""


class InspectSamples(LogFormat):
    """A row per sample and epoch, with what the model wrote and the scores that it was given.

    Confidences are read from the text of the first choice. The verdict is the score of the one scorer, or of that which
    `correct` names. The epochs of a sample are responses to one question.
    """

    def recognises(self, sheet: Sheet) -> bool:
        return {"task", "id", "epoch", "output", "scores"} <= set(sheet.columns)

    def read(self, sheet: Sheet, request: Request) -> Outputs:
        """The outputs; a scorer's name in `correct` is a column of its verdicts."""
        scored = {name: [_verdict(scores, name) for scores in sheet["scores"]] for name in _scorers(sheet)}
        return super().read(replace(sheet, columns={**sheet.columns, **scored}), request)

    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """From the text of the response."""
        return stated_in(sheet, "output", [_text(output) for output in sheet["output"]], request)

    def correct(self, sheet: Sheet) -> Floats:
        """From the one scorer, or from several that agree."""
        names = _scorers(sheet)
        if not names:
            raise NotOutputs(f"{sheet.path}: no sample has a score. Score them: inspect score.")
        verdicts = np.array([[_number(cell) for cell in sheet[name]] for name in names])
        first: Floats = verdicts[0]
        if np.isnan(verdicts).all(axis=1).any() or not all(
            np.array_equal(first, other, equal_nan=True) for other in verdicts
        ):
            raise UserError(
                f"{sheet.path}: the verdict must be one score per sample, in [0, 1] or one of {', '.join(GRADES)}; it "
                f"has {', '.join(names)}. Name the one that judges the answer: --correct NAME, or "
                "--correct scores.NAME.value.FIELD inside an object."
            )
        return first

    def questions(self, sheet: Sheet) -> Names:
        """The sample."""
        return name_column(sheet, "id")

    def datasets(self, sheet: Sheet) -> Names:
        """The task."""
        return name_column(sheet, "task")


def _scorers(sheet: Sheet) -> list[str]:
    return list(dict.fromkeys(name for scores in sheet["scores"] for name in scores or {}))


def _verdict(scores: Mapping[str, Any] | None, name: str) -> Any:
    """A score as a cell with a verdict; None where a sample, which may have failed, has none."""
    value = (scores or {}).get(name, {}).get("value")
    return GRADES.get(value, value) if isinstance(value, str) else value


def _number(cell: Any) -> float:
    verdict = verdict_of(cell)
    return np.nan if verdict is None else verdict


def _text(output: Mapping[str, Any] | None) -> str:
    """What the model wrote: the text of its first choice, whose content may be a list with other things in it."""
    choices = (output or {}).get("choices")
    if not choices:
        return (output or {}).get("completion") or ""
    content = choices[0]["message"].get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
