"""Post-hoc calibrators: against scikit-learn's fits, on data too poor for a fit, and cross-fitted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from vlcal.evaluation.metrics import ScoredResponses, brier, ece_equal_width
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

Array = NDArray[np.float64]
AT = np.array([0.0, 0.25, 0.6, 1.0])
every_kind = pytest.mark.parametrize("kind", [Temperature, Platt, Beta, Isotonic, Histogram, WithCertainty])


def overconfident(rows: int = 4000) -> tuple[Array, Array]:
    """Confidences whose logit is twice what it should be."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.02, 0.98, rows)
    return confidence, (rng.random(rows) < expit(logit(confidence) / 2)).astype(float)


def beside(kind: type[Calibrator], rows: int) -> list[Array]:
    """What a kind takes beside confidence and outcome."""
    return [np.linspace(-1, 1, rows) for _ in kind.features]


def test_temperature_finds_the_factor_that_logits_were_stretched_by() -> None:
    confidence, correct = overconfident()
    fitted = Temperature().fit(confidence, correct)

    def loss(temperature: float) -> float:
        predicted = expit(logit(confidence) / temperature)
        return -float(np.mean(np.where(correct > 0, np.log(predicted), np.log1p(-predicted))))

    exact = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-8}).x
    assert fitted.parameters["temperature"][0] == pytest.approx(exact, rel=1e-2)
    assert fitted.parameters["temperature"][0] == pytest.approx(2, rel=0.1)
    assert fitted.predict([0.5]).item() == pytest.approx(0.5)


def test_platt_and_certainty_are_scikit_learns_logistic_regression() -> None:
    # Without the softening of outcomes, which counts as one response more of each kind: hence the tolerance.
    confidence, correct = overconfident()
    certainty = np.random.default_rng(1).normal(3, 2, len(correct)) + 2 * correct
    alone, both = logit(confidence)[:, None], np.stack([logit(confidence), certainty], 1)
    theirs = [
        LogisticRegression(C=1e9, tol=1e-8).fit(columns, correct).predict_proba(columns) for columns in (alone, both)
    ]

    assert Platt().fit(confidence, correct).predict(confidence) == pytest.approx(theirs[0][:, 1], abs=2e-3)
    ours = WithCertainty().fit(confidence, correct, certainty).predict(confidence, certainty)
    assert ours == pytest.approx(theirs[1][:, 1], abs=2e-3)


def test_beta_keeps_the_order_where_platt_reverses_it() -> None:
    confidence, correct = overconfident()
    platt, beta = (calibrator.fit(confidence, 1 - correct).predict(AT) for calibrator in (Platt(), Beta()))

    assert (np.diff(platt) < 0).all()
    assert (np.diff(beta) >= 0).all()
    columns = np.stack([np.log(confidence), -np.log1p(-confidence)], 1)
    theirs = LogisticRegression(C=1e9, tol=1e-8).fit(columns, correct)
    assert (theirs.coef_ > 0).all()  # so that the bounds of beta calibration do not bind
    ours = Beta().fit(confidence, correct).predict(confidence)
    assert ours == pytest.approx(theirs.predict_proba(columns)[:, 1], abs=2e-3)


def test_isotonic_is_scikit_learns() -> None:
    confidence, correct = overconfident(300)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(confidence, correct)

    assert Isotonic().fit(confidence, correct).predict(AT) == pytest.approx(theirs.predict(AT), abs=1e-12)


def test_histogram_counts_the_centre_of_a_bin_as_one_response_more() -> None:
    fitted = Histogram(bins=2).fit([0.1, 0.2, 0.6, 1.0], [0, 0, 1, 0])

    assert fitted.predict([0.0, 1.0]).tolist() == [(0 + 0.25) / 3, (1 + 0.75) / 3]
    assert Histogram(bins=4).fit([0.1, 0.2], [0, 1]).predict([0.9]).item() == 0.875  # nobody was there


def test_a_certainty_that_knows_more_makes_better_confidences() -> None:
    confidence, correct = overconfident(1000)
    certainty = correct + np.random.default_rng(2).normal(0, 0.5, 1000)
    alone, both = Platt().fit(confidence, correct), WithCertainty().fit(confidence, correct, certainty)

    assert brier(both.predict(confidence, certainty), correct) < 0.7 * brier(alone.predict(confidence), correct)


def test_an_absent_certainty_counts_as_the_mean() -> None:
    confidence, correct = overconfident(200)
    certainty = np.where(np.arange(200) < 100, correct, math.nan)
    fitted = WithCertainty().fit(confidence, correct, certainty)
    mean = certainty[:100].mean()

    assert fitted.predict([0.7], [math.nan]) == pytest.approx(fitted.predict([0.7], [mean]))


@every_kind
@pytest.mark.parametrize(("right", "rows", "expected"), [(1, 3, 4 / 5), (0, 3, 1 / 5), (1, 1, 2 / 3), (0, 0, 1 / 2)])
def test_outcomes_that_are_all_equal_give_the_rule_of_succession(
    kind: type[Calibrator], right: int, rows: int, expected: float
) -> None:
    fitted = kind().fit(np.full(rows, 0.9), np.full(rows, right), *beside(kind, rows))

    assert fitted.predict(AT, *beside(kind, 4)) == pytest.approx(np.full(4, expected))


@every_kind
@pytest.mark.parametrize("confidence", [[0.9, 0.9, 0.9], [1.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.8, 0.2, math.nan]])
def test_tiny_and_constant_data_give_probabilities_without_a_warning(
    kind: type[Calibrator], confidence: list[float]
) -> None:
    fitted = kind().fit(confidence, [1, 0, 1], *beside(kind, 3))
    predicted = fitted.predict([*AT, math.nan], *beside(kind, 5))

    assert ((predicted[:4] >= 0) & (predicted[:4] <= 1)).all()
    assert math.isnan(predicted[4])  # absent stays absent


@pytest.mark.parametrize("kind", [Temperature, Platt, Beta, Isotonic, Histogram])
def test_a_constant_confidence_becomes_the_share_that_is_right(kind: type[Calibrator]) -> None:
    fitted = kind().fit(np.full(1000, 0.9), np.arange(1000) < 600)

    assert fitted.predict([0.9]).item() == pytest.approx(0.6, abs=0.002)


@every_kind
def test_applied_to_other_responses_it_lowers_the_calibration_error(kind: type[Calibrator]) -> None:
    confidence, correct = overconfident()
    features = beside(kind, 2000)
    fitted = kind().fit(confidence[:2000], correct[:2000], *features)

    predicted = fitted.predict(confidence[2000:], *features)

    assert ece_equal_width(predicted, correct[2000:]) < 0.5 * ece_equal_width(confidence[2000:], correct[2000:])


def test_an_unfitted_one_does_not_predict() -> None:
    with pytest.raises(ValueError, match="`Platt` must be fitted before it predicts"):
        Platt().predict([0.5])


def test_columns_are_checked() -> None:
    with pytest.raises(ValueError, match="`WithCertainty` must be given `certainty` beside .* got 0 more"):
        WithCertainty().fit([0.5], [1])
    with pytest.raises(ValueError, match="`Platt` must be given nothing but .* got 1 more"):
        Platt().fit([0.5], [1], [0.3])
    with pytest.raises(ValueError, match="flat arrays of one length"):
        Platt().fit([0.5, 0.6], [1])
    with pytest.raises(ValueError, match="`confidence` must lie in .0, 1."):
        Platt().fit([5, 6], [1, 0])


class Remembers(Calibrator):
    """Predicts 1 for the confidences it saw and 0 for others, so that a leak shows."""

    kind = "remembers"

    def _fitted(self, confidence: Array, right: NDArray[np.bool_], *features: Array) -> dict[str, list[float]]:
        return {"seen": confidence.tolist()}

    def _predicted(self, confidence: Array, *features: Array) -> Array:
        return np.isin(confidence, self.parameters["seen"]).astype(float)


def responses(confidence: Array, correct: Array, question: Array, dataset: str | Array = "all") -> ScoredResponses:
    return ScoredResponses(confidence, correct, question.astype(str), np.broadcast_to(dataset, question.shape))


def test_no_question_is_predicted_by_what_saw_it() -> None:
    # Both samples of a question share their confidence, of which no two questions have the same.
    question = np.repeat(np.arange(20), 2)
    confidence, correct = question / 20, np.tile([0.0, 1.0], 20)

    assert (cross_fitted(Remembers(), responses(confidence, correct, question)) == 0).all()
    assert (Remembers().fit(confidence, correct).predict(confidence) == 1).all()


def test_one_id_in_two_data_sets_is_two_questions() -> None:
    # Two questions, so each is predicted by the other alone: (0 + 1) / (1 + 2) and (1 + 1) / (1 + 2).
    question, dataset = np.zeros(2, int), np.array(["a", "b"])

    assert cross_fitted(Platt(), responses(np.ones(2), np.array([1.0, 0]), question, dataset)) == pytest.approx(
        [1 / 3, 2 / 3]
    )


@pytest.mark.parametrize("names", [("b", "c"), ("m", "m-v"), ("m", "m/1")])
def test_folds_depend_on_the_order_of_data_sets_and_not_on_how_their_names_join(names: tuple[str, str]) -> None:
    confidence, correct = overconfident(100)
    question, dataset = np.arange(100), np.repeat(names, 50)

    given = responses(confidence, correct, question, dataset)
    usual = responses(confidence, correct, question, np.repeat(["a", "b"], 50))

    assert np.array_equal(cross_fitted(Platt(), given), cross_fitted(Platt(), usual))


def test_every_response_is_predicted_and_the_same_seed_repeats_it() -> None:
    confidence, correct = overconfident(100)
    confidence[0], correct[1] = math.nan, math.nan
    given, certainty = responses(confidence, correct, np.arange(100)), np.linspace(0, 1, 100)

    runs = [cross_fitted(WithCertainty(), given, 5, seed, certainty) for seed in (0, 0, 1)]

    assert np.isnan(runs[0]).tolist() == [True] + [False] * 99
    assert np.array_equal(runs[0], runs[1], equal_nan=True)
    assert not np.array_equal(runs[0], runs[2], equal_nan=True)


def test_fewer_questions_than_folds_are_held_out_one_by_one() -> None:
    confidence, correct = np.array([0.9, 0.4]), np.array([1.0, 0.0])
    apart, together = (responses(confidence, correct, np.array(question)) for question in ([0, 1], [0, 0]))

    assert cross_fitted(Platt(), apart) == pytest.approx([1 / 3, 2 / 3])
    assert cross_fitted(Platt(), together) == pytest.approx([0.5, 0.5])
    assert len(cross_fitted(Platt(), apart.where(np.zeros(2, bool)))) == 0
    with pytest.raises(ValueError, match="`folds` must be at least 2"):
        cross_fitted(Platt(), apart, folds=1)
