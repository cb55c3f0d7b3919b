"""Outputs with their metrics: each file's kinds of confidence, and files compared with the first.

Every format (terminal, JSON, Markdown, CSV, HTML) is written from these records, so all show the same numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vlcal.errors import UserError
from vlcal.evaluation.metrics import (
    AbsentPolicy,
    Correlation,
    ScoredResponses,
    WrongAndUnsure,
    confidence_correlation,
)
from vlcal.evaluation.metrics.levels import Floats
from vlcal.evaluation.metrics.table import (
    Contrast,
    Estimate,
    MetricTable,
    check_draws,
    metric_estimates,
    metric_table,
    paired_difference,
    shared_questions,
)
from vlcal.evaluation.outputs import Outputs
from vlcal.evaluation.posthoc import (
    Beta,
    Calibrator,
    Histogram,
    Isotonic,
    Platt,
    Temperature,
    WithCertainty,
    cross_fitted,
)

Estimates = Mapping[str, Estimate]

BASELINES: tuple[Calibrator, ...] = (Temperature(), Platt(), Beta(), Isotonic(), Histogram())
FOLDS = 5
OF_BASELINES = ("ece_equal_width", "smooth_ece", "brier", "log_loss", "auroc", "within_auroc")
BASELINE_DRAWS = 200  # at most: up to ten rows for every kind, beside which the stated confidence has all draws


@dataclass(frozen=True)
class Bootstrap:
    """How metrics are estimated.

    Args:
        draws: Bootstrap draws of the questions; 0 leaves the intervals out.
        seed: Of the draws, and of the folds of the post-hoc baselines.
        absent: How responses without a confidence are scored.

    Raises:
        UserError: If `draws` is negative.
    """

    draws: int = 1000
    seed: int = 0
    absent: AbsentPolicy = field(default_factory=WrongAndUnsure)

    def __post_init__(self) -> None:
        check_draws(self.draws)

    def table(self, responses: ScoredResponses) -> MetricTable:
        """Every metric, over all responses and per data set."""
        return metric_table(responses, self.draws, self.seed, self.absent)

    def baseline(self, responses: ScoredResponses, metrics: Collection[str]) -> Estimates:
        """Some metrics over all responses, from fewer draws."""
        return metric_estimates(responses, metrics, min(self.draws, BASELINE_DRAWS), self.seed, self.absent)

    def difference(self, first: ScoredResponses, second: ScoredResponses) -> Mapping[str, Contrast]:
        """Every metric of the first minus that of the second, on the questions that both have."""
        return paired_difference(first, second, self.draws, self.seed, self.absent)


@dataclass(frozen=True)
class ScoredKind:
    """One kind of confidence in one file.

    Args:
        responses: The confidences with the truth that they are held against.
        truth: Name of that truth: `correct`, or the kind's own, `perception_correct` or `reasoning_correct`.
        table: Every metric of the stated confidence.
        baselines: Baseline -> metric -> estimate: the confidence calibrated post hoc, and other readouts.
    """

    responses: ScoredResponses
    truth: str
    table: MetricTable
    baselines: Mapping[str, Estimates]

    @property
    def stated(self) -> bool:
        """Whether any response states this confidence."""
        return self.table.counts.unparsed < self.table.counts.n


@dataclass(frozen=True)
class Scored:
    """One file with its metrics.

    Args:
        outputs: What was scored.
        name: A short name, different from those of the other files.
        kinds: Kind of confidence -> its metrics.
        correlation: Of the visual and the reasoning confidence, where both are there.
    """

    outputs: Outputs
    name: str
    kinds: Mapping[str, ScoredKind]
    correlation: Correlation | None


@dataclass(frozen=True)
class Difference:
    """One kind of confidence in a file compared with the same kind in the first file, question by question.

    Args:
        estimates: Every metric minus that of the first file; empty where the two cannot be compared.
        note: Why there is none, or on which questions it was taken where not on all; otherwise empty.
    """

    estimates: Mapping[str, Contrast]
    note: str


@dataclass(frozen=True)
class Comparison:
    """Files side by side.

    Args:
        files: In the order given; the first is the one that the others are compared with.
        differences: For each file after the first: kind of confidence that both have -> difference.
        how: How the metrics were estimated.
    """

    files: Sequence[Scored]
    differences: Sequence[Mapping[str, Difference]]
    how: Bootstrap

    @property
    def kinds(self) -> list[str]:
        """The kinds of confidence that some response of a file states, or all kinds if there is none such."""
        kinds = list(dict.fromkeys(kind for file in self.files for kind in file.kinds))
        return [kind for kind in kinds if any(scored.stated for _, _, scored in self.of(kind))] or kinds

    def of(self, kind: str) -> Iterator[tuple[int, str, ScoredKind]]:
        """Number and name of each file that has a kind of confidence, with its metrics."""
        for number, file in enumerate(self.files):
            if kind in file.kinds:
                yield number, file.name, file.kinds[kind]

    def compared(self, kind: str) -> Iterator[tuple[int, str, Difference]]:
        """Number and name of each file after the first, with its difference in a kind of confidence."""
        for number, (file, differences) in enumerate(zip(self.files[1:], self.differences, strict=True), 1):
            if kind in differences:
                yield number, file.name, differences[kind]


def compare(
    outputs: Sequence[Outputs],
    how: Bootstrap = Bootstrap(),
    readouts: Sequence[Mapping[str, Mapping[str, Floats]]] = (),
    of_baselines: Collection[str] = OF_BASELINES,
) -> Comparison:
    """Every file with its metrics, and its paired differences to the first.

    Args:
        outputs: At least one file.
        how: How metrics are estimated.
        readouts: For each file: kind -> name -> other confidences in the same responses, scored beside the baselines.
        of_baselines: Metrics of the baselines; there is no use in estimating what is not shown.

    Raises:
        UserError: If two of the files are the same.
    """
    names = short_names([file.path for file in outputs])
    others = readouts or [{} for _ in outputs]
    files = [score_file(*given, how, of_baselines) for given in zip(outputs, names, others, strict=True)]
    first = files[0]
    differences = [
        {kind: _difference(file, first, kind, how) for kind in first.kinds if kind in file.kinds} for file in files[1:]
    ]
    return Comparison(files, differences, how)


def score_file(
    outputs: Outputs,
    name: str,
    readouts: Mapping[str, Mapping[str, Floats]],
    how: Bootstrap,
    of_baselines: Collection[str],
) -> Scored:
    """One file with its metrics; a file's numbers do not depend on the files beside it."""
    kinds = {}
    for kind, truth in outputs.held_against.items():
        responses = outputs.judged(kind)
        beside = {name: replace(responses, confidence=column) for name, column in readouts.get(kind, {}).items()}
        baselines = {**dict(calibrated(responses, outputs.certainty, how.seed)), **beside}
        estimates = {name: how.baseline(baseline, of_baselines) for name, baseline in baselines.items()}
        kinds[kind] = ScoredKind(responses, truth, how.table(responses), estimates)
    both = [outputs.confidence[kind] for kind in ("visual", "reasoning") if kind in kinds]
    return Scored(outputs, name, kinds, confidence_correlation(*both) if len(both) == 2 else None)


def calibrated(
    responses: ScoredResponses, certainty: Floats | None, seed: int
) -> Iterator[tuple[str, ScoredResponses]]:
    """The responses with the confidence of each baseline, fitted to other questions than those it is applied to.

    Args:
        responses: As stated.
        certainty: The visual certainty, which one more baseline takes as a second feature; None without one.
        seed: Of the folds.
    """
    learners: list[tuple[Calibrator, list[Floats]]] = [(baseline, []) for baseline in BASELINES]
    if certainty is not None:
        learners.append((WithCertainty(), [certainty]))
    for learner, features in learners:
        confidence = cross_fitted(learner, responses, FOLDS, seed, *features)
        yield learner.kind, replace(responses, confidence=confidence)


def short_names(paths: Sequence[Path]) -> list[str]:
    """The stem of each file, with as much of its path as makes it different from the others.

    Raises:
        UserError: If two are the same file.
    """
    whole = [path.absolute() for path in paths]
    for depth in range(1, max(len(path.parts) for path in whole) + 1):
        for ends in ([path if path.is_dir() else path.with_suffix("") for path in whole], whole):
            names = ["/".join(path.parts[-depth:]) for path in ends]
            if len(set(names)) == len(names):
                return names
    raise UserError(f"`files` must be different files; got {', '.join(map(str, paths))}.")


def _difference(file: Scored, first: Scored, kind: str, how: Bootstrap) -> Difference:
    own, other = file.kinds[kind], first.kinds[kind]
    if own.truth != other.truth:
        reason = f"its {kind} confidence is held against {own.truth}, that of {first.name} against {other.truth}"
        return Difference({}, f"no paired difference, since {reason}")
    shared = shared_questions(own.responses, other.responses)
    if not shared:
        return Difference({}, f"no paired difference, since it shares no question with {first.name}")
    asked = max(own.table.counts.questions, other.table.counts.questions)
    note = f"difference on the {shared} questions that it shares with {first.name}" if shared < asked else ""
    return Difference(how.difference(own.responses, other.responses), note)
