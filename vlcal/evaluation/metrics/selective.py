"""Answer or abstain: a threshold on the confidence whose risk is bounded for unseen questions, not only observed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import RIGHT, Floats
from vlcal.evaluation.metrics.responses import ScoredResponses, check_unit

RANKS = 20  # thresholds that are tested; more of them are finer, and each costs all others confidence


@dataclass(frozen=True)
class SelectiveThreshold:
    """A rule that answers where the confidence is above a threshold, and what is known of its risk.

    Args:
        threshold: Answer above it, abstain at or below it; infinite where no threshold keeps the risk.
        risk: The risk that was asked for.
        delta: Probability, over validation samples, that the true risk is larger all the same.
        questions: Validation questions behind it.
        coverage: Share of them that is answered.
        observed: Share of the answered that is wrong; NaN where none is answered.
        bound: Upper confidence bound on that share for unseen questions; NaN where none is answered.
    """

    threshold: float
    risk: float
    delta: float
    questions: int
    coverage: float
    observed: float
    bound: float

    def answers(self, confidence: float) -> bool:
        """Whether a response of this confidence is given; one that states none (NaN) never is."""
        return confidence > self.threshold

    @property
    def statement(self) -> str:
        """The guarantee, in one sentence."""
        if self.threshold == math.inf:
            return (
                f"no threshold keeps the risk at {self.risk:.1%}, since none has an upper bound that low, with "
                f"confidence {1 - self.delta:g}, on the {self.questions} questions of the validation"
            )
        where = "wherever a confidence is stated" if self.threshold == -math.inf else f"above {self.threshold:.2f}"
        return (
            f"{where} at most {self.risk:.1%} of the answers are wrong, with confidence {1 - self.delta:g} over "
            f"validation samples, for questions drawn like the {self.questions} of the validation; there "
            f"{self.coverage:.1%} are answered, {self.observed:.1%} of them wrongly"
        )


def risk_bound(errors: ArrayLike, accepted: ArrayLike, delta: float) -> Floats:
    """Upper confidence bound on the probability of an error, at level 1 - delta. Clopper and Pearson (1934).

        U = sup {p : P(Binomial(accepted, p) <= errors) > delta},  the (1 - delta) quantile of Beta(k + 1, m - k)

    1 where nothing is accepted, or all of it is wrong.

    >>> risk_bound([0, 1], [29, 29], 0.05).round(3).tolist()
    [0.098, 0.153]
    """
    k, m = np.asarray(errors, np.float64), np.asarray(accepted, np.float64)
    return np.where(k < m, betaincinv(k + 1, np.maximum(m - k, 1), 1 - delta), 1.0)


def fewest_questions(risk: float, delta: float = 0.05) -> int:
    """Questions without which `selective_threshold` lets no threshold pass, all answered rightly: the bound with k = 0.

        m = ceil(log(delta / |T|) / log(1 - risk))

    >>> fewest_questions(0.1)
    58
    """
    _check_share("risk", risk)
    _check_share("delta", delta)
    return math.ceil(math.log(delta / (RANKS + 1)) / math.log1p(-risk))


def selective_threshold(
    confidence: ArrayLike, correct: ArrayLike, risk: float, delta: float = 0.05
) -> SelectiveThreshold:
    """The lowest threshold whose risk is at most `risk` with probability 1 - delta over validation samples.

    Selection with guaranteed risk of Geifman and El-Yaniv (2017), as a multiple test, Learn then Test of Angelopoulos
    et al. (2021): a threshold t passes if the upper bound on R(t) = P(wrong | confidence > t) is at most `risk`,

        t* = min {t in T : U(errors above t, responses above t, delta / |T|) <= risk},

    Bonferroni over T, so that with probability 1 - delta no threshold passes whose risk is larger. T holds the
    confidences at 20 fixed ranks and "any confidence". Behind a fixed rank the responses above are independent draws
    given the value at the rank, whatever it is; the number of distinct confidences depends on the sample, and a
    correction by it would guarantee nothing.

    Args:
        confidence: In [0, 1], of one response to each of some independent questions; NaN where none was stated, which
            is never answered.
        correct: Outcome in [0, 1]; at least 0.5 counts as right, NaN is left out.
        risk: Share of the answers that may be wrong, in (0, 1).
        delta: Probability that the guarantee fails, in (0, 1).

    Raises:
        UserError: If an argument is out of range, the lengths differ, or no outcome is known.
    """
    _check_share("risk", risk)
    _check_share("delta", delta)
    stated, wrong = _ranked(confidence, correct)
    count = len(stated)
    ranks = np.unique(np.ceil(np.arange(1, RANKS + 1) * count / RANKS).astype(np.intp)) - 1
    thresholds = np.append(stated[ranks], -np.inf)
    accepted = np.searchsorted(-stated, -thresholds)  # responses strictly above
    errors = np.append(0.0, np.cumsum(wrong))[accepted]
    bounds = risk_bound(errors, accepted, delta / (RANKS + 1))
    passing = np.flatnonzero(bounds <= risk)
    if not len(passing):
        return SelectiveThreshold(math.inf, risk, delta, count, 0.0, math.nan, math.nan)
    lowest = passing[np.argmax(accepted[passing])]
    return SelectiveThreshold(
        threshold=float(thresholds[lowest]),
        risk=risk,
        delta=delta,
        questions=count,
        coverage=float(accepted[lowest] / count),
        observed=float(errors[lowest] / accepted[lowest]),
        bound=float(bounds[lowest]),
    )


def first_per_question(responses: ScoredResponses) -> ScoredResponses:
    """The first response to each question: several responses to one question are no independent draws."""
    names = np.char.add(np.char.add(responses.dataset, "\0"), responses.question)
    _, first = np.unique(names, return_index=True)
    return responses.where(np.sort(first))


def _ranked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Confidences from the surest to those that were not stated, -inf, and whether each is wrong."""
    stated, outcome = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if stated.ndim != 1 or stated.shape != outcome.shape:
        raise UserError(
            f"`correct` must be a flat array with one outcome per confidence; got {outcome.shape} for {stated.shape}."
        )
    check_unit("confidence", stated)
    check_unit("correct", outcome)
    known = ~np.isnan(outcome)
    if not known.any():
        raise UserError("`correct` must hold a known outcome, or there is no risk to bound; got none.")
    stated = np.where(np.isnan(stated), -np.inf, stated)[known]
    order = np.argsort(-stated, kind="stable")
    return stated[order], (outcome[known] < RIGHT)[order]


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise UserError(f"`{name}` must be a share in (0, 1), such as 0.05; got {value}.")
