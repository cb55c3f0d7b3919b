"""What evaluation harnesses write: sample logs of lmms-eval and lm-evaluation-harness, tables of VLMEvalKit."""

from __future__ import annotations

import ast
import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.outputs.column import (
    Floats,
    Names,
    name_column,
    number_of,
    only_of,
    text_column,
    verdict_column,
    verdict_of,
)
from vlcal.evaluation.outputs.log_format import LogFormat, first_of, stated_in
from vlcal.evaluation.outputs.outputs import Outputs, Request
from vlcal.evaluation.outputs.sheet import NotOutputs, Sheet

# What the programs write about every sample; whatever else stands there is a metric.
FIELDS = {
    *("doc_id", "doc", "doc_hash", "target", "arguments", "input", "input_media", "resps", "filtered_resps"),
    *("token_counts", "submission", "filter", "metrics", "prompt_hash", "target_hash"),
}
# Where a metric is an object, the field that holds its verdict.
VERDICTS = ("score", "scores", "true_false", "correct", "is_correct", "acc")
# Of several metrics that disagree, the one that says whether the answer was right.
PREFERRED = (
    *("exact_match", "acc", "accuracy", "acc_score", "relaxed_overall", "average"),
    *("llm_as_judge_eval", "gpt_eval_score", "overall_score"),
)
_TASK = re.compile(r"(?:^|_)samples_(.+?)(?:_\d{4}-\d\d-\d\dT[-.\d]+)?\.jsonl$")


class SampleLog(LogFormat):
    """One line per sample of one task and filter, as `--log_samples` writes them into `samples_TASK...jsonl`.

    Confidences are read from `resps`, the response as it was written, or from `filtered_resps` where that was left
    out. The verdict is the metric that the task gives every sample, or the metrics that each cover a part of them.
    """

    responses: ClassVar[Sequence[str]] = ("resps", "filtered_resps")

    def recognises(self, sheet: Sheet) -> bool:
        return {"doc_id", "filtered_resps"} <= set(sheet.columns)

    def read(self, sheet: Sheet, request: Request) -> Outputs:
        """The outputs as one filter saw them.

        Raises:
            UserError: If there are several filters and none was chosen, or the chosen one is not there.
        """
        return super().read(self._of_one_filter(sheet, request.filter), replace(request, filter=None))

    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """From the text of the response."""
        return stated_in(sheet, "resps", [self._response(sheet, row) for row in range(len(sheet))], request)

    def correct(self, sheet: Sheet) -> Floats:
        """From the metric that judges every sample, a preferred one where several differ, or from parts that agree."""
        metrics = dict(self._metrics(sheet))
        whole = {name: values for name, values in metrics.items() if not np.isnan(values).any()}
        if not whole:
            return _joined_parts(sheet, metrics)
        first, *others = whole.values()
        if all(np.array_equal(first, other) for other in others):
            return first
        chosen = next((name for name in PREFERRED if name in whole), None)
        if chosen is None:
            raise UserError(
                f"{sheet.path}: {', '.join(whole)} all judge every sample, and not alike. Name one: --correct NAME."
            )
        return whole[chosen]

    def questions(self, sheet: Sheet) -> Names:
        """The document's number within the task."""
        return name_column(sheet, "doc_id")

    def datasets(self, sheet: Sheet) -> Names:
        """The task, from the name of the file."""
        task = _TASK.search(sheet.path.name)
        return np.full(len(sheet), task.group(1)) if task else super().datasets(sheet)

    def _of_one_filter(self, sheet: Sheet, name: str | None) -> Sheet:
        names = list(dict.fromkeys(map(str, sheet.columns.get("filter", ()))))
        if name is None and len(names) > 1:
            raise UserError(
                f"{sheet.path}: every response is judged after each of {len(names)} filters: {', '.join(names)}. "
                "Choose one: --filter NAME."
            )
        if name is not None and name not in names:
            raise UserError(
                f"`filter` must be one that {sheet.path} names, which are {', '.join(names) or 'none'}; got {name!r}."
            )
        if not names:
            self._refuse_unnamed_filters(sheet)
        return sheet if name is None else sheet.where("filter", name)

    def _refuse_unnamed_filters(self, sheet: Sheet) -> None:
        """Logs of older versions repeat a sample for each filter and do not say which."""
        seen: dict[tuple[str, ...], Any] = {}
        hashes = sheet.columns.get("doc_hash", [None] * len(sheet))
        for row, (sample, filtered) in enumerate(zip(sheet["doc_id"], sheet["filtered_resps"], strict=True)):
            key = (str(sample), str(hashes[row]), *self._texts(sheet, row))
            if seen.setdefault(key, filtered) != filtered:
                rule = "one response is judged twice, as after several filters that the log does not name"
                raise sheet.refusal(row, "filtered_resps", f"{rule}. Keep the rows of one of them.")

    def _metrics(self, sheet: Sheet) -> Iterator[tuple[str, Floats]]:
        """Every metric as a column of verdicts; NaN where a sample has none."""
        for name in (name for name in sheet.columns if name not in FIELDS):
            values = np.array([_verdict(cell) for cell in sheet.columns[name]])
            if not np.isnan(values).all():
                yield name, values

    def _response(self, sheet: Sheet, row: int) -> str:
        """The one text in a row, however deep it lies."""
        texts = self._texts(sheet, row)
        if len(texts) > 1:
            why = f"one response per sample is asked for, since there is one verdict; got {len(texts)}."
            raise sheet.refusal(row, "resps", why)
        return texts[0] if texts else ""

    def _texts(self, sheet: Sheet, row: int) -> list[str]:
        cells = (sheet.columns[name][row] for name in self.responses if name in sheet.columns)
        return next((texts for cell in cells if (texts := list(_texts_in(cell)))), [])


class VLMEvalKitTable(LogFormat):
    """The table that an evaluation of VLMEvalKit leaves: `index`, `prediction`, and a verdict per row.

    Which column holds the verdict depends on the data set: `hit` for multiple choice, `score` for yes or no and most
    free answers, `correct` or `is_correct` for some. Others keep the extracted answer only, `res`, and judge it when
    they are summed up; it is compared with `answer_option` or `answer` as mathematics.
    """

    judgements: ClassVar[Sequence[str]] = (
        *("hit", "correct", "is_correct", "score", "verifier_match", "verifier_score", "eval_score"),
    )

    def recognises(self, sheet: Sheet) -> bool:
        return {"index", "prediction"} <= set(sheet.columns) and "confidence" not in sheet.columns

    def confidences(self, sheet: Sheet, request: Request) -> dict[str, Floats]:
        """From the text of the prediction."""
        return stated_in(sheet, "prediction", text_column(sheet, "prediction"), request)

    def correct(self, sheet: Sheet) -> Floats:
        """From the first of the usual columns that is there, otherwise from the extracted answer."""
        name = first_of(sheet, self.judgements)
        if name is not None:
            return verdict_column(sheet, name)
        if not {"res", "answer"} <= set(sheet.columns):
            raise NotOutputs(
                f"{sheet.path}: predictions that are not judged yet: none of {', '.join(self.judgements)}, `res` with "
                "`answer` is there. Give the file that the evaluation wrote beside it, such as ..._result.xlsx or "
                "..._score.xlsx, or name the column with the verdict: --correct NAME."
            )
        from vlcal.verifiers import MathVerifier
        from vlcal.verifiers.base import verdicts

        verifier = MathVerifier()
        letters = text_column(sheet, "answer_option") if "answer_option" in sheet.columns else [""] * len(sheet)
        rows = zip(text_column(sheet, "res"), letters, text_column(sheet, "answer"), strict=True)
        return np.array(verdicts([(verifier, given, letter or answer) for given, letter, answer in rows]))

    def questions(self, sheet: Sheet) -> Names:
        """The index within the data set."""
        return name_column(sheet, "index")


def _joined_parts(sheet: Sheet, metrics: Mapping[str, Floats]) -> Floats:
    """The verdict of metrics that each cover a part of the samples, as the categories of MME do.

    Raises:
        UserError: If a sample has no verdict, or two that differ.
    """
    parts = np.array([np.full(len(sheet), np.nan), *metrics.values()])
    known = ~np.isnan(parts)
    if not known.any(axis=0).all():
        row = int(np.flatnonzero(~known.any(axis=0))[0])
        raise UserError(
            f"{sheet.path}, row {sheet.rows[row]}: no metric of the task is a verdict, a number in [0, 1], true or "
            f"false. Name what is, --correct NAME, or NAME.FIELD inside an object; or add a column with verdicts. It "
            f"has {', '.join(sheet.columns)}."
        )
    low: Floats = np.where(known, parts, np.inf).min(axis=0)
    high: Floats = np.where(known, parts, -np.inf).max(axis=0)
    if (differing := np.flatnonzero(low != high)).size:
        why = f"its metrics judge it differently, {low[differing[0]]:g} and {high[differing[0]]:g}"
        raise sheet.refusal(int(differing[0]), ", ".join(metrics), f"{why}. Name one: --correct NAME.")
    return low


def _texts_in(cell: Any) -> Iterator[str]:
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, list):
        for item in cell:
            yield from _texts_in(item)


def _verdict(cell: Any) -> float:
    """The verdict in a metric or inside its object; NaN where there is none."""
    cell = only_of(cell)
    if isinstance(cell, dict):
        name = next((name for name in VERDICTS if name in cell), None)
        cell = cell[name] if name is not None else _extracted_right(cell)
    verdict = verdict_of(cell)
    return np.nan if verdict is None else verdict


def _extracted_right(metric: Mapping[str, Any]) -> float | None:
    """Whether the answer that MMMU's parser extracted is right by MMMU's rule (Yue et al., 2024); None without one.

    A letter must be the same. An open answer is right if it contains one of the target's texts, or equals one of its
    numbers when both are rounded to two decimals.
    """
    if "parsed_pred" not in metric or "answer" not in metric:
        return None
    answer = metric["answer"]
    if isinstance(answer, str) and answer.startswith("["):
        with contextlib.suppress(ValueError, SyntaxError):  # otherwise it is the answer itself
            answer = ast.literal_eval(answer)
    is_right = _contains if metric.get("question_type") == "open" else str.__eq__
    return float(any(is_right(given, target) for given in _items(metric["parsed_pred"]) for target in _items(answer)))


def _contains(given: str, target: str) -> bool:
    read = [number_of(text.replace(",", "")) for text in (given, target)]
    numbers = [round(number, 2) for number in read if number is not None and math.isfinite(number)]
    if len(numbers) == 2:
        return numbers[0] == numbers[1]
    words = given.lower() if len(target) > 1 else given.lower().split()
    return target.lower() in words


def _items(cell: Any) -> list[str]:
    """The items of a list within lists, or the cell itself, as texts."""
    return [item for part in cell for item in _items(part)] if isinstance(cell, list) else [str(cell).strip()]
