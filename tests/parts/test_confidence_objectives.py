"""Sampled and expected confidence objectives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vlcal.objectives import ConfidenceObjective, ExpectedScore, SampledConfidence
from vlcal.scores import Brier, HarmonicMean, LogScore
from vlcal.types import Certainty, PolicyUpdate, Responses

NAN = float("nan")
LEVELS = torch.linspace(0.0, 1.0, 11)
OVERALL = HarmonicMean()(LEVELS[:, None], LEVELS[None, :])
MakeResponses = Callable[..., Responses]
MakeCertainty = Callable[..., Certainty]


def level_log_probs(rows: int, levels: int = 11, seed: int = 0) -> Tensor:
    logits = torch.randn(rows, 2, levels, generator=torch.Generator().manual_seed(seed))
    return logits.log_softmax(dim=-1)


def applied(objective: ConfidenceObjective, *arguments: Any) -> PolicyUpdate:
    """All terms of the loss as one."""
    terms = objective(*arguments)
    stats = {name: value for term in terms for name, value in term.stats.items()}
    return PolicyUpdate(torch.stack([term.loss for term in terms]).sum(), stats)


def certain_of(visual: int, reasoning: int) -> Tensor:
    """All probability on one level each; the others at minus infinity."""
    log_probs = torch.full((1, 2, 11), -torch.inf)
    log_probs[0, 0, visual] = 0.0
    log_probs[0, 1, reasoning] = 0.0
    return log_probs


def test_two_levels_by_hand(make_responses: MakeResponses, make_certainty: MakeCertainty) -> None:
    """Levels 0 and 1, each half likely: the overall confidence is 1 in one pair out of four, else 0."""
    log_probs = torch.full((1, 2, 2), math.log(0.5))
    levels, overall = torch.tensor([0.0, 1.0]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    update = applied(ExpectedScore(), log_probs, levels, overall, make_responses([0.5]), make_certainty([0.25]))
    visual = 0.5 * 0.25**2 + 0.5 * 0.75**2
    assert update.stats["expected_calibration"] == pytest.approx(0.75)
    assert update.stats["expected_visual"] == pytest.approx(visual)
    assert float(update.loss) == pytest.approx(2.0 * 0.75 + 0.4 * visual)
    assert update.stats["visual_level_entropy"] == pytest.approx(math.log(2.0))


def test_all_probability_on_one_pair_gives_the_score_of_that_pair(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    objective = ExpectedScore(LogScore(), 1.0, Brier(), 0.0)
    update = applied(
        objective, certain_of(5, 8), LEVELS, LEVELS[:, None] * LEVELS, make_responses([0.5]), make_certainty([0.5])
    )
    assert float(update.loss) == pytest.approx(-math.log(0.4), rel=1e-5)


def test_the_expected_loss_is_the_mean_of_the_losses_of_sampled_pairs(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    log_probs = level_log_probs(1)
    pairs = torch.multinomial(log_probs[0].exp(), 40_000, replacement=True, generator=torch.Generator().manual_seed(1))
    visual, reasoning = LEVELS[pairs[0]], LEVELS[pairs[1]]
    sampled = 2.0 * (HarmonicMean()(visual, reasoning) - 1.0) ** 2 + 0.4 * (visual - 0.3) ** 2
    update = applied(ExpectedScore(), log_probs, LEVELS, OVERALL, make_responses([0.5]), make_certainty([0.3]))
    assert float(update.loss) == pytest.approx(float(sampled.mean()), abs=0.02)


def test_its_gradient_is_the_mean_policy_gradient_of_the_sampled_scores(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Score-function estimate, with the expectation as its baseline, against the exact gradient on the logits."""
    logits = (0.5 * torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(3))).requires_grad_()
    levels, rng = torch.linspace(0.0, 1.0, 4), torch.Generator().manual_seed(4)
    overall = HarmonicMean()(levels[:, None], levels[None, :])
    update = applied(
        ExpectedScore(), logits.log_softmax(-1), levels, overall, make_responses([0.5]), make_certainty([0.3])
    )
    (exact,) = torch.autograd.grad(update.loss, logits)
    pairs = torch.multinomial(logits[0].softmax(-1).detach(), 200_000, replacement=True, generator=rng)
    visual, reasoning = levels[pairs[0]], levels[pairs[1]]
    scores = 2.0 * (HarmonicMean()(visual, reasoning) - 1.0) ** 2 + 0.4 * (visual - 0.3) ** 2 - update.loss.detach()
    log_probs = logits.log_softmax(-1)[0]
    surrogate = (scores * (log_probs[0, pairs[0]] + log_probs[1, pairs[1]])).mean()
    (sampled,) = torch.autograd.grad(surrogate, logits)
    torch.testing.assert_close(sampled, exact, rtol=0, atol=0.01)
    assert float(exact.abs().max()) > 0.05


def test_the_best_pair_of_levels_states_the_true_rates(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Three of four are right and the vision is called .6: .6 with 1.0, whose harmonic mean is .75.

    The loss is linear in each distribution, so that no mixture of levels is better than the best pair.
    """
    responses, certainty = make_responses([0.5] * 4, correct=[1.0, 1.0, 1.0, 0.0]), make_certainty([0.6] * 4)
    losses = {
        (visual, reasoning): float(
            applied(
                ExpectedScore(), certain_of(visual, reasoning).expand(4, 2, 11), LEVELS, OVERALL, responses, certainty
            ).loss
        )
        for visual in range(11)
        for reasoning in range(11)
    }
    assert min(losses, key=losses.__getitem__) == (6, 10)
    assert losses[6, 10] == pytest.approx(2.0 * 0.75 * 0.25)


def test_rows_whose_confidences_are_absent_move_neither_loss_nor_gradient(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    log_probs = level_log_probs(3)
    log_probs[1:] = NAN
    log_probs.requires_grad_()
    responses = make_responses([0.5, NAN, 0.5], reasoning=[0.5, 0.5, NAN])
    update = applied(ExpectedScore(), log_probs, LEVELS, OVERALL, responses, make_certainty([0.5, 0.5, NAN]))
    update.loss.backward()
    alone = applied(ExpectedScore(), log_probs[:1], LEVELS, OVERALL, make_responses([0.5]), make_certainty([0.5]))
    torch.testing.assert_close(update.loss, alone.loss)
    assert log_probs.grad is not None
    assert (log_probs.grad[1:] == 0).all()
    assert (log_probs.grad[0] != 0).any()


def test_no_stated_confidence_at_all_gives_zero_with_zero_gradient(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    log_probs = torch.full((2, 2, 11), NAN, requires_grad=True)
    update = applied(
        ExpectedScore(), log_probs, LEVELS, OVERALL, make_responses([NAN, NAN]), make_certainty([NAN, NAN])
    )
    update.loss.backward()
    assert float(update.loss.detach()) == 0.0
    assert log_probs.grad is not None
    assert (log_probs.grad == 0).all()


def test_an_absent_label_takes_the_visual_term_away_and_leaves_the_other(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    log_probs = level_log_probs(1).requires_grad_()
    update = applied(ExpectedScore(), log_probs, LEVELS, OVERALL, make_responses([0.5]), make_certainty([NAN]))
    without = applied(
        ExpectedScore(visual_weight=0.0), log_probs, LEVELS, OVERALL, make_responses([0.5]), make_certainty([0.5])
    )
    torch.testing.assert_close(update.loss, without.loss)
    assert torch.autograd.grad(update.loss, log_probs)[0].isfinite().all()


def test_the_visual_term_is_a_mean_over_the_responses_with_a_label(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Two responses with a label, and two without: none of them takes a share of the others' gradient."""
    log_probs = level_log_probs(4).requires_grad_()
    objective = ExpectedScore(calibration_weight=0.0, level_weight=0.0)
    responses, certainty = make_responses([0.5] * 4), make_certainty([0.2, NAN, 0.9, NAN])
    labelled = [0, 2]
    joint = applied(objective, log_probs, LEVELS, OVERALL, responses, certainty)
    apart = applied(
        objective, log_probs[labelled], LEVELS, OVERALL, make_responses([0.5] * 2), make_certainty([0.2, 0.9])
    )
    (gradient,), (alone,) = (torch.autograd.grad(one.loss, log_probs) for one in (joint, apart))
    assert objective.counts(responses, certainty) == (4, 2)
    torch.testing.assert_close(gradient, alone)
    assert not gradient[[1, 3]].any() and gradient[labelled].any()


def test_a_level_at_minus_infinity_makes_no_nan(make_responses: MakeResponses, make_certainty: MakeCertainty) -> None:
    log_probs = certain_of(5, 5).requires_grad_()
    update = applied(
        ExpectedScore(calibration=LogScore()), log_probs, LEVELS, OVERALL, make_responses([0.5]), make_certainty([0.5])
    )
    update.loss.backward()
    assert log_probs.grad is not None
    assert log_probs.grad.isfinite().all()
    assert all(math.isfinite(value) for value in update.stats.values())


def test_level_tokens_leave_the_policy_mask_only_where_their_gradient_is_exact(make_responses: MakeResponses) -> None:
    mask = torch.tensor([[True, True, True, True], [True, True, True, False]])
    first, second = [False, True, False, False], [False, False, True, False]
    responses = make_responses(
        visual=[0.5, NAN], visual_confidence=[first, first], reasoning_confidence=[second, second]
    )
    left = ExpectedScore().policy_mask(mask, responses)
    assert left.tolist() == [[True, False, False, True], [True, True, True, False]]


def test_the_probability_of_stating_no_level_costs_its_logarithm(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    responses, certain, log_probs = make_responses([0.5]), make_certainty([0.5]), level_log_probs(1)

    def loss(shift: float, weight: float) -> float:
        # exp(shift) is what is left for the levels together, at each of the two confidences
        return float(
            applied(ExpectedScore(level_weight=weight), log_probs + shift, LEVELS, OVERALL, responses, certain).loss
        )

    assert loss(-0.5, weight=3.0) - loss(0.0, weight=3.0) == pytest.approx(3.0 * 2 * 0.5, abs=1e-5)
    assert loss(-0.5, weight=0.0) == pytest.approx(loss(0.0, weight=0.0), abs=1e-6)


def test_sampled_confidence_leaves_mask_and_weights_alone(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    mask, log_probs = torch.ones(1, 4, dtype=torch.bool), level_log_probs(1)
    responses = make_responses([0.5], visual_confidence=[[True, False, False, False]])
    assert torch.equal(SampledConfidence().policy_mask(mask, responses), mask)
    certainty = make_certainty([0.5])
    assert SampledConfidence()(log_probs, LEVELS, OVERALL, responses, certainty) == ()
    assert SampledConfidence().counts(responses, certainty) == ()


def test_only_the_expected_score_asks_for_levels() -> None:
    assert ExpectedScore().needs_levels
    assert not SampledConfidence().needs_levels


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`visual_weight` must be at least 0.*got -1.0"):
        ExpectedScore(visual_weight=-1.0)


@pytest.mark.usefixtures("shapes_unchecked")
def test_log_probs_that_do_not_fit_the_levels_are_refused(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    with pytest.raises(ValueError, match=r"`level_log_probs` must be \(N, 2, L\) with L = 11"):
        ExpectedScore()(torch.zeros(1, 3, 11), LEVELS, OVERALL, make_responses([0.5]), make_certainty([0.5]))
