"""Each metric beside one that shares nothing with it: of scikit-learn, torchmetrics or scipy, or a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import entropy, pearsonr, spearmanr
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from vlcal.evaluation import metrics

Array = NDArray[np.float64]
Responses = tuple[Array, Array]
CLOSE = {"abs": 1e-6, "rel": 0, "nan_ok": True}


def binned(confidence: Array, correct: Array, index: Array) -> tuple[Array, Array]:
    """Share of the responses and gap of each bin that somebody is in, by a loop."""
    shares, gaps = [], []
    for number in sorted(set(index.tolist())):
        members = index == number
        shares.append(members.mean())
        gaps.append(abs(confidence[members].mean() - correct[members].mean()))
    return np.array(shares), np.array(gaps)


def expected_risks(confidence: Array, correct: Array) -> list[float]:
    """Share wrong among the m surest, m = 1 ... n; within a tie, as many are wrong as in the tie on average."""
    wrong = 1 - correct
    for value in set(confidence.tolist()):
        tied = confidence == value
        wrong[tied] = wrong[tied].mean()
    ordered = wrong[np.argsort(-confidence, kind="stable")]
    return [float(ordered[: m + 1].mean()) for m in range(len(ordered))]


def test_means(responses: Responses) -> None:
    confidence, correct = responses

    assert metrics.accuracy(*responses) == pytest.approx(sklearn_metrics.accuracy_score(correct, np.ones_like(correct)))
    assert metrics.mean_confidence(*responses) == pytest.approx(math.fsum(confidence) / len(confidence))
    assert metrics.overconfidence(*responses) == pytest.approx(math.fsum(confidence - correct) / len(correct), abs=1e-9)


def test_ece_mce_and_rmsce_of_equal_widths(responses: Responses) -> None:
    confidence, correct = responses
    index = np.array([min(int(round(c * 1e7) // 10**6), 9) for c in confidence])
    shares, gaps = binned(confidence, correct, index)

    assert metrics.ece_equal_width(*responses) == pytest.approx((shares * gaps).sum(), **CLOSE)
    assert metrics.mce(*responses) == pytest.approx(gaps.max(), **CLOSE)
    assert metrics.rmsce(*responses) == pytest.approx(math.sqrt((shares * gaps**2).sum()), **CLOSE)


@pytest.mark.parametrize(("name", "norm"), [("ece_equal_width", "l1"), ("rmsce", "l2"), ("mce", "max")])
def test_torchmetrics_agrees_where_no_confidence_is_an_edge(name: str, norm: str) -> None:
    # It puts 1.0 into a bin of its own and finds edges in float32.
    rng = np.random.default_rng(1)
    confidence = rng.random(2000)
    correct = (rng.random(2000) < confidence).astype(float)

    theirs = binary_calibration_error(torch.tensor(confidence), torch.tensor(correct).long(), n_bins=10, norm=norm)

    assert metrics.METRICS[name](confidence, correct) == pytest.approx(float(theirs), **CLOSE)


def test_ece_per_value(responses: Responses) -> None:
    confidence, correct = responses
    shares, gaps = binned(confidence, correct, confidence)

    assert metrics.ece_per_value(*responses) == pytest.approx((shares * gaps).sum(), **CLOSE)


def test_ece_of_equal_masses_without_ties_splits_the_sorted() -> None:
    rng = np.random.default_rng(2)
    confidence, correct = rng.random(230), rng.integers(0, 2, 230).astype(float)
    parts = np.array_split(np.argsort(confidence), 10)
    gaps = [abs(confidence[part].mean() - correct[part].mean()) for part in parts]

    assert metrics.ece_equal_mass(confidence, correct) == pytest.approx(np.mean(gaps), **CLOSE)


def test_brier_and_log_loss(responses: Responses) -> None:
    confidence, correct = responses
    clipped = np.clip(confidence, 0.001, 0.999)

    assert metrics.brier(*responses) == pytest.approx(sklearn_metrics.brier_score_loss(correct, confidence), **CLOSE)
    # The likelier outcome of a confidence of 0 or 1 costs nothing; scikit-learn charges log(0.999) for it.
    free = ((confidence < 0.001) & (correct == 0)) | ((confidence > 0.999) & (correct == 1))
    charged = np.where(free, 0, -np.log(np.where(correct == 1, clipped, 1 - clipped)))
    assert metrics.log_loss(*responses) == pytest.approx(charged.mean(), abs=1e-5)
    if not free.any():
        theirs = sklearn_metrics.log_loss(correct, clipped, labels=[0, 1])
        assert metrics.log_loss(*responses) == pytest.approx(theirs, **CLOSE)


def test_auroc_and_auprc(responses: Responses) -> None:
    confidence, correct = responses
    if 0 < correct.mean() < 1:
        assert metrics.auroc(*responses) == pytest.approx(sklearn_metrics.roc_auc_score(correct, confidence), **CLOSE)
        theirs = binary_auroc(torch.tensor(confidence), torch.tensor(correct).long())
        assert metrics.auroc(*responses) == pytest.approx(float(theirs), **CLOSE)
    else:
        assert math.isnan(metrics.auroc(*responses))
    expected = sklearn_metrics.average_precision_score(correct, confidence) if correct.any() else math.nan
    assert metrics.auprc(*responses) == pytest.approx(expected, **CLOSE)


def test_areas_under_risk(responses: Responses) -> None:
    confidence, correct = responses
    area = np.mean(expected_risks(confidence, correct))
    best = np.mean(expected_risks(np.argsort(np.argsort(correct, kind="stable")) / len(correct), correct))

    assert metrics.aurc(*responses) == pytest.approx(area, **CLOSE)
    assert metrics.e_aurc(*responses) == pytest.approx(area - best, **CLOSE)
    share = correct.mean()
    auroc = sklearn_metrics.roc_auc_score(correct, confidence) if 0 < share < 1 else 0.5
    augrc = (1 - auroc) * share * (1 - share) + (1 - share) ** 2 / 2  # Traub et al. (2024), equation 7
    assert metrics.augrc(*responses) == pytest.approx(augrc, **CLOSE)


def test_coverage_at_risk_and_its_curve(responses: Responses) -> None:
    confidence, correct = responses
    thresholds = sorted(set(confidence.tolist()), reverse=True)
    points = [((confidence >= t).mean(), 1 - correct[confidence >= t].mean()) for t in thresholds]
    curve = metrics.risk_coverage_curve(*responses)

    assert curve.threshold.tolist() == thresholds
    assert np.stack([curve.coverage, curve.risk], 1) == pytest.approx(np.array(points), abs=1e-9)
    safe = [coverage for coverage, risk in points if risk <= 0.1]
    assert metrics.coverage_at_risk_10(*responses) == pytest.approx(max(safe, default=0.0), **CLOSE)


def test_distinct_values_and_their_entropy(responses: Responses) -> None:
    counts = np.unique(responses[0], return_counts=True)[1]

    assert metrics.distinct_values(*responses) == len(counts)
    assert metrics.value_entropy(*responses) == pytest.approx(entropy(counts), **CLOSE)


def test_correlations_of_two_confidences() -> None:
    rng = np.random.default_rng(3)
    visual = rng.integers(0, 11, 90) / 10
    reasoning = np.clip(visual + rng.normal(0, 0.2, 90), 0, 1)
    found = metrics.confidence_correlation(np.append(visual, np.nan), np.append(reasoning, 0.5))

    assert found.pearson == pytest.approx(pearsonr(visual, reasoning).statistic, **CLOSE)
    assert found.spearman == pytest.approx(spearmanr(visual, reasoning).statistic, **CLOSE)
    assert found.n == 90
    assert math.isnan(metrics.confidence_correlation(np.full(5, 0.9), visual[:5]).pearson)
