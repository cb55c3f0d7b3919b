"""Sampled and expected confidence objectives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vlcal.objectives import ConfidenceObjective, DistilledCertainty, ExpectedScore, SampledConfidence
from vlcal.scores import Brier, HarmonicMean, LogScore
from vlcal.types import Certainty, PolicyUpdate, Responses, Spans

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
    """Levels 0 and 1, each half likely: behind a 1 half of the overall confidences are 1, behind a 0 none."""
    log_probs = torch.full((2, 2, 2), math.log(0.5))
    levels, overall = torch.tensor([0.0, 1.0]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    certainty = replace(make_certainty([0.25] * 2), reasoning=torch.tensor([NAN, 1.0]))
    objective = ExpectedScore(reasoning_weight=3.0)
    update = applied(objective, log_probs, levels, overall, make_responses([0.0, 1.0]), certainty)
    visual = 0.5 * 0.25**2 + 0.5 * 0.75**2
    assert update.stats["expected_calibration"] == pytest.approx((1.0 + 0.5) / 2)
    assert update.stats["expected_visual"] == pytest.approx(visual)
    assert update.stats["expected_reasoning"] == pytest.approx(0.5)
    assert float(update.loss) == pytest.approx(2.0 * 0.75 + 0.4 * visual + 3.0 * 0.5)
    assert update.stats["visual_level_entropy"] == pytest.approx(math.log(2.0))


def test_all_probability_on_one_pair_gives_the_score_of_that_pair(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    objective = ExpectedScore(LogScore(), 1.0, Brier(), 0.0)
    update = applied(
        objective, certain_of(5, 8), LEVELS, LEVELS[:, None] * LEVELS, make_responses([0.5]), make_certainty([0.5])
    )
    assert float(update.loss) == pytest.approx(-math.log(0.4), rel=1e-5)


def enumerated(logits: Tensor, conditional: Tensor, objective: ExpectedScore) -> tuple[Tensor, Tensor, float]:
    """The objective's gradient on p(v) and on p(r | v), and its value, in expectation over the sampled v.

    Args:
        logits: Of the visual levels.
        conditional: Of the reasoning levels behind each visual level.
    """
    count = len(logits)
    levels, probs = torch.linspace(0.0, 1.0, count), logits.detach().softmax(-1)
    overall = HarmonicMean()(levels[:, None], levels[None, :])
    loss, row = torch.zeros(()), torch.tensor([0.3])
    for sampled in range(count):
        log_probs = torch.stack([logits, conditional[sampled]])[None].log_softmax(-1)
        said = responses_of(levels[sampled : sampled + 1])
        certainty = Certainty(torch.full((1, 4), 0.5), row, row)
        loss = loss + probs[sampled] * applied(objective, log_probs, levels, overall, said, certainty).loss
    visual, reasoning = torch.autograd.grad(loss, [logits, conditional])
    return visual, reasoning, float(loss.detach())


def responses_of(visual: Tensor) -> Responses:
    """One right response that states a visual confidence."""
    nowhere, one = torch.zeros(1, 4, dtype=torch.bool), torch.ones(1)
    return Responses(("7",), one.bool(), one, visual, visual, visual, one, one, Spans(*[nowhere] * 5))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [0.0, 2.0], ids=["r ignores v", "r answers to v"])
def test_value_and_gradient_are_those_of_the_expectation_over_every_pair_of_levels(seed: int, spread: float) -> None:
    """By enumeration: the sampled v takes every value with its probability."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, generator=rng).requires_grad_()
    conditional = (torch.randn(5, generator=rng) + spread * torch.randn(5, 5, generator=rng)).requires_grad_()
    levels = torch.linspace(0.0, 1.0, 5)
    scores = 2.0 * (HarmonicMean()(levels[:, None], levels[None, :]) - 1.0) ** 2 + 0.4 * (levels[:, None] - 0.3) ** 2
    truth = (logits.softmax(-1)[:, None] * conditional.softmax(-1) * scores).sum()
    exact = torch.autograd.grad(truth, [logits, conditional])

    visual, reasoning, value = enumerated(logits, conditional, ExpectedScore())

    torch.testing.assert_close(visual, exact[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(reasoning, exact[1], rtol=1e-4, atol=1e-6)
    assert value == pytest.approx(float(truth.detach()), rel=1e-5)
    assert visual.norm() > 0.01 and reasoning.norm() > 0.001


def test_the_reasoning_confidence_is_taught_beside_the_visual_one_that_was_stated(
    make_responses: MakeResponses,
) -> None:
    """Half of the answers are right, and the overall confidence is .5 near level 7 beside .4 and near 3 beside 1.

    A harmonic mean of exactly a half needs 2/3 beside .4 and 1/3 beside 1.
    """
    for stated, best in ((0.4, 7), (1.0, 3)):
        log_probs = torch.zeros(2, 2, 11, requires_grad=True)
        said = make_responses([stated] * 2, correct=[0.0, 1.0])
        label = torch.full((2,), NAN)
        certainty = Certainty(torch.full((2, 4), 0.5), label, label)
        loss = applied(ExpectedScore(), log_probs.log_softmax(-1), LEVELS, OVERALL, said, certainty).loss
        (gradient,) = torch.autograd.grad(loss, log_probs)
        assert int(gradient.sum(0)[1].argmin()) == best


def test_a_label_of_the_reasoning_confidence_moves_that_confidence_alone(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    logits = torch.zeros(1, 2, 11, requires_grad=True)
    objective = ExpectedScore(calibration_weight=0.0, visual_weight=0.0, reasoning_weight=1.0)
    certainty = replace(make_certainty([0.5]), reasoning=torch.tensor([0.8]))
    loss = applied(objective, logits.log_softmax(-1), LEVELS, OVERALL, make_responses([0.5]), certainty).loss
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 0].abs().max() < 1e-6 < gradient[0, 1].abs().max()
    assert int(gradient[0, 1].argmin()) == 8


def test_the_best_pair_of_levels_states_the_true_rates(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Three of four are right and the vision is called .6: .6 with 1.0, whose harmonic mean is .75.

    The loss is linear in each distribution, so that no mixture of levels is better than the best pair.
    """
    certainty = make_certainty([0.6] * 4)
    losses = {
        (visual, reasoning): float(
            applied(
                ExpectedScore(),
                certain_of(visual, reasoning).expand(4, 2, 11),
                LEVELS,
                OVERALL,
                make_responses([float(LEVELS[visual])] * 4, correct=[1.0, 1.0, 1.0, 0.0]),
                certainty,
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
    assert objective.counts(responses, certainty) == (4, 2, 0)
    torch.testing.assert_close(gradient, alone)
    assert not gradient[[1, 3]].any() and gradient[labelled].any()


def test_a_level_at_minus_infinity_makes_no_nan(make_responses: MakeResponses, make_certainty: MakeCertainty) -> None:
    log_probs = certain_of(5, 5).requires_grad_()
    certainty = replace(make_certainty([0.5]), reasoning=torch.tensor([0.5]))
    objective = ExpectedScore(calibration=LogScore(), reasoning_weight=1.0)
    update = applied(objective, log_probs, LEVELS, OVERALL, make_responses([0.5]), certainty)
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


def test_a_distilled_label_is_the_cross_entropy_of_the_levels_next_to_it(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Label .25 lies between levels 0 and .5, in halves; a row without a label has no term."""
    log_probs = torch.tensor([[[0.5, 0.25, 0.25]] * 2] * 2).log()
    levels = torch.tensor([0.0, 0.5, 1.0])
    certainty = replace(make_certainty([0.25, NAN]), reasoning=torch.tensor([1.0, NAN]))
    objective = DistilledCertainty(visual_weight=2.0, reasoning_weight=1.0)

    update = applied(objective, log_probs, levels, levels[:, None] * levels, make_responses([0.5, 0.5]), certainty)

    visual, reasoning = 0.5 * math.log(2.0) + 0.5 * math.log(4.0), math.log(4.0)
    assert float(update.loss) == pytest.approx(2.0 * visual + reasoning, rel=1e-5)


def test_distillation_ends_at_the_distribution_of_the_labels_and_an_expected_score_at_one_level(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Two responses that look alike, with labels 0 and 1: the mean level is .5 in both, by two levels or by one."""
    means, entropies = [], []
    for objective in (DistilledCertainty(), ExpectedScore(calibration_weight=0.0, visual_weight=1.0)):
        logits = torch.zeros(11, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.1)
        for _ in range(400):
            log_probs = logits.log_softmax(-1).expand(2, 2, 11)
            optimizer.zero_grad()
            applied(
                objective, log_probs, LEVELS, OVERALL, make_responses([0.5, 0.5]), make_certainty([0.0, 1.0])
            ).loss.backward()
            optimizer.step()
        probs = logits.detach().softmax(-1)
        means.append(float((probs * LEVELS).sum()))
        entropies.append(float(torch.special.entr(probs).sum()))
    assert means == pytest.approx([0.5, 0.5], abs=0.01)
    assert entropies[0] == pytest.approx(math.log(2.0), abs=0.05) and entropies[1] < 0.05


def test_a_sharp_label_lies_between_the_measured_one_and_the_mean_of_the_policy(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Levels 0, .5 and 1 at .5, .25 and .25 have the mean .375; half way from label .625 to it lies level .5."""
    log_probs = torch.tensor([[[0.5, 0.25, 0.25]] * 2]).log()
    levels = torch.tensor([0.0, 0.5, 1.0])
    objective = DistilledCertainty(visual_weight=1.0, reasoning_weight=0.0, sharpness=0.5)

    update = applied(
        objective, log_probs, levels, levels[:, None] * levels, make_responses([0.5]), make_certainty([0.625])
    )

    assert float(update.loss) == pytest.approx(math.log(4.0), rel=1e-5)


def test_sharpness_narrows_what_is_stated_around_the_same_mean(
    make_responses: MakeResponses, make_certainty: MakeCertainty
) -> None:
    """Of four responses that look alike one has label 1: mean .25, standard deviation .43 without sharpness."""
    means, deviations = [], []
    for sharpness in (0.0, 0.5):
        logits = torch.zeros(11, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.1)
        objective = DistilledCertainty(sharpness=sharpness)
        responses, certainty = make_responses([0.5] * 4), make_certainty([0.0, 0.0, 0.0, 1.0])
        for _ in range(400):
            log_probs = logits.log_softmax(-1).expand(4, 2, 11)
            optimizer.zero_grad()
            applied(objective, log_probs, LEVELS, OVERALL, responses, certainty).loss.backward()
            optimizer.step()
        probs = logits.detach().softmax(-1)
        means.append(float((probs * LEVELS).sum()))
        deviations.append(float((probs * (LEVELS - means[-1]) ** 2).sum().sqrt()))
    assert means == pytest.approx([0.25, 0.25], abs=0.02)
    assert deviations[0] == pytest.approx(0.433, abs=0.02) and deviations[1] == pytest.approx(0.217, abs=0.04)


def test_a_label_that_is_wholly_the_policys_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`sharpness` must be in \[0, 1\).* got 1.0"):
        DistilledCertainty(sharpness=1.0)
