"""Every number of a report that is estimated: tables of metrics, and differences between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlcal.evaluation.metrics import Judged
from vlcal.evaluation.report.runs import Run
from vlcal.evaluation.table import Estimate, MetricTable, metric_table, paired_difference, shared_questions


@dataclass(frozen=True)
class Kind:
    """A kind of confidence and the truth it is held against.

    Args:
        name: Its column.
        truth: The column of its own truth.
        meaning: That truth in words.
    """

    name: str
    truth: str
    meaning: str


KINDS = (
    Kind("overall", "correct", "whether the answer is right"),
    Kind("visual", "read_right", "whether the image was read right"),
    Kind("reasoning", "reasoned_right", "whether the answer follows from what was read"),
)


@dataclass(frozen=True)
class Finding:
    """One kind of confidence in one run.

    Args:
        run: Number of the run.
        judged: Its responses.
        table: Every metric with its interval.
        difference: Every metric less that of the first run, on shared questions; None for the first run itself, and
            where none is shared.
        shared: Questions that the difference is made of.
    """

    run: int
    judged: Judged
    table: MetricTable
    difference: Mapping[str, Estimate] | None
    shared: int


@dataclass(frozen=True)
class KindFindings:
    """One kind of confidence in every run that states it.

    Args:
        kind: Which.
        borrowed: Whether the answer's verdict stands in for a truth that nobody knows.
        findings: One per run that has the column.
    """

    kind: Kind
    borrowed: bool
    findings: tuple[Finding, ...]

    @property
    def held_against(self) -> str:
        """The truth in words."""
        return f"{KINDS[0].meaning}, since nobody knows {self.kind.meaning}" if self.borrowed else self.kind.meaning


def gather(runs: Sequence[Run], draws: int, seed: int = 0) -> tuple[KindFindings, ...]:
    """What there is to say about each kind of confidence that some run states."""
    found = []
    for kind in KINDS:
        stating = [number for number, run in enumerate(runs) if run.has(kind.name)]
        if not any((~np.isnan(runs[number].column(kind.name))).any() for number in stating):
            continue
        # One truth for all runs, or their figures could not be compared.
        borrowed = any(np.isnan(runs[number].column(kind.truth)).all() for number in stating)
        truth = KINDS[0].truth if borrowed else kind.truth
        judged = {number: judge(runs[number], kind.name, truth) for number in stating}
        findings = tuple(_finding(number, judged, draws, seed) for number in stating)
        found.append(KindFindings(kind, borrowed and kind.truth != truth, findings))
    return tuple(found)


def judge(run: Run, confidence: str, truth: str) -> Judged:
    """A column of confidences held against a column of verdicts."""
    return Judged(run.column(confidence), run.column(truth), run.question, run.dataset)


def _finding(number: int, judged: Mapping[int, Judged], draws: int, seed: int) -> Finding:
    own, baseline = judged[number], judged.get(0)
    shared = shared_questions(own, baseline) if number and baseline is not None else 0
    difference = paired_difference(own, baseline, draws, seed) if shared and baseline is not None else None
    return Finding(number, own, metric_table(own, draws, seed), difference, shared)


def known(judged: Judged) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidences as they are scored and whether each response is right, where both are known."""
    settled = judged.settled()
    return settled.confidence, settled.correct >= 0.5
