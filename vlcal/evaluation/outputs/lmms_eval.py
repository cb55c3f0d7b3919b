"""The sample logs of lmms-eval."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from vlcal.evaluation.outputs.column import Floats, Names, name_column, verdict_of
from vlcal.evaluation.outputs.log_format import LogFormat, stated_in
from vlcal.evaluation.outputs.outputs import Request
from vlcal.evaluation.outputs.sheet import Sheet

# What the program writes about every sample; whatever else stands there is a metric.
FIELDS = {
    *("doc_id", "doc", "doc_hash", "target", "arguments", "input", "input_media", "resps", "filtered_resps"),
    *("token_counts", "submission", "filter", "metrics"),
}
# Where a metric is an object, the field that holds its verdict.
VERDICTS = ("score", "true_false", "correct", "is_correct", "acc")
# Of several metrics that disagree, the one that says whether the answer was right.
PREFERRED = (
    *("exact_match", "acc", "accuracy", "acc_score", "relaxed_overall", "average"),
    *("llm_as_judge_eval", "gpt_eval_score", "overall_score"),
)
_TASK = re.compile(r"(?:^|_)samples_(.+)\.jsonl$")


class LmmsEvalSamples(LogFormat):
    """One line per sample of one task, as `--log_samples` writes them into `..._samples_TASK.jsonl`.

    A confidence is looked for in `resps`, the response as it was written, and where that was left out in
    `filtered_resps`. The verdict is the metric that the task gives every sample.
    """

    responses: ClassVar[Sequence[str]] = ("resps", "filtered_resps")

    def recognises(self, sheet: Sheet) -> bool:
        return {"doc_id", "filtered_resps"} <= set(sheet.columns)

    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """From the text of the response."""
        said = [self._response(sheet, row) for row in range(len(sheet))]
        return stated_in(sheet, "resps", said, request)

    def correct(self, sheet: Sheet) -> Floats:
        """From the one metric that judges every sample; from a preferred one where several do and disagree."""
        found = {name: values for name, values in self._metrics(sheet) if not np.isnan(values).any()}
        if not found:
            raise ValueError(
                f"{sheet.path}: no metric of the task is a verdict, a number in [0, 1], true or false, on every "
                f"sample. Name what is: --correct NAME, or NAME.FIELD inside an object. It has "
                f"{', '.join(sheet.columns)}."
            )
        columns = list(found.values())
        if all(np.array_equal(columns[0], other) for other in columns[1:]):
            return columns[0]
        chosen = next((name for name in PREFERRED if name in found), None)
        if chosen is None:
            raise ValueError(
                f"{sheet.path}: {', '.join(found)} all judge every sample, and not alike. Name one: --correct NAME."
            )
        return found[chosen]

    def questions(self, sheet: Sheet) -> Names:
        """The document's number within the task."""
        return name_column(sheet, "doc_id")

    def datasets(self, sheet: Sheet) -> Names:
        """The task, from the name of the file."""
        found = _TASK.search(sheet.path.name)
        return np.full(len(sheet), found.group(1)) if found else super().datasets(sheet)

    def _metrics(self, sheet: Sheet) -> Iterator[tuple[str, Floats]]:
        """Every metric as a column of verdicts; NaN where a sample has none."""
        for name, cells in sheet.columns.items():
            if name not in FIELDS:
                yield name, np.array([_verdict(cell) for cell in cells])

    def _response(self, sheet: Sheet, row: int) -> str:
        """The one text in a row, however deep it lies."""
        for name in self.responses:
            found = list(_texts(sheet.columns.get(name, [None] * len(sheet))[row]))
            if len(found) > 1:
                why = f"one response per sample is asked for, since there is one verdict; got {len(found)}."
                raise sheet.refusal(row, name, why)
            if found:
                return found[0]
        return ""


def _texts(cell: Any) -> Iterator[str]:
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, list):
        for item in cell:
            yield from _texts(item)


def _verdict(cell: Any) -> float:
    """The verdict in a metric or inside its object; NaN where there is none."""
    if isinstance(cell, dict):
        cell = next((cell[name] for name in VERDICTS if name in cell), None)
    verdict = verdict_of(cell)
    return np.nan if verdict is None else verdict
