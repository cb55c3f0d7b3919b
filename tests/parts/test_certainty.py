"""Certainty estimators and the labelers they normalise with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from vlcal.certainty import (
    BatchLabeler,
    CertaintyEstimator,
    ConstantCertainty,
    EntropyCertainty,
    GroupLabeler,
    KLCertainty,
    KLEntropyCertainty,
    SoftLabeler,
    WindowLabeler,
)
from vlcal.types import Certainty, Evidence, Responses, Rollouts

NAN = float("nan")
KL = torch.tensor([[1.0, 3.0, 9.0], [4.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
ENTROPY = torch.tensor([[0.5, 1.5, 9.0], [2.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
VISION = [[True, True, False], [True, False, False], [False, False, False]]
MEMBERS = [KLEntropyCertainty(), KLCertainty(), EntropyCertainty(), ConstantCertainty(0.3)]


@pytest.fixture
def certainty_of(
    make_responses: Callable[..., Responses], make_rollouts: Callable[..., Rollouts]
) -> Callable[..., Certainty]:
    """The certainty that an estimator infers from KL and entropy of three responses, the last without a vision part."""

    def certainty(estimator: CertaintyEstimator, kl: Tensor = KL, entropy: Tensor = ENTROPY) -> Certainty:
        responses = make_responses(visual=[0.5] * 3, tokens=3, vision=VISION)
        evidence = Evidence(log_probs=torch.zeros(3, 3), entropy=entropy, visual_kl=kl)
        return estimator(evidence, make_rollouts(3, 3, group_size=3), responses)

    return certainty


@pytest.mark.parametrize(
    ("estimator", "scores"),
    [
        (KLEntropyCertainty(), [2.0, 2.0]),  # (1 + 3) / (0.5 + 1.5) and 4 / 2
        (KLCertainty(), [2.0, 4.0]),
        (EntropyCertainty(), [1.0, 0.5]),
    ],
)
def test_scores_are_made_of_the_means_over_the_vision_part(
    certainty_of: Callable[..., Certainty], estimator: CertaintyEstimator, scores: list[float]
) -> None:
    score = certainty_of(estimator).score
    torch.testing.assert_close(score[:2], torch.tensor(scores).log(), rtol=1e-5, atol=1e-5)
    assert score.isnan().tolist() == [False, False, True]


def test_two_responses_one_standard_deviation_apart_get_sigmoid_of_plus_and_minus_one(
    certainty_of: Callable[..., Certainty],
) -> None:
    certainty = certainty_of(KLCertainty())
    torch.testing.assert_close(certainty.response[:2], torch.tensor([-1.0, 1.0]).sigmoid())


def test_a_token_that_leans_more_on_the_image_is_surer(certainty_of: Callable[..., Certainty]) -> None:
    token = certainty_of(KLCertainty()).token
    assert token[0, 0] < token[0, 1] < token[1, 0]
    torch.testing.assert_close(token, certainty_of(KLCertainty(), entropy=ENTROPY * 7).token)


def test_a_token_that_is_less_torn_is_surer(certainty_of: Callable[..., Certainty]) -> None:
    token = certainty_of(EntropyCertainty()).token
    assert token[0, 0] > token[0, 1] > token[1, 0]
    torch.testing.assert_close(token, certainty_of(EntropyCertainty(), kl=KL * 7).token)


@pytest.mark.parametrize("estimator", MEMBERS)
def test_what_lies_outside_the_vision_part_changes_nothing(
    certainty_of: Callable[..., Certainty], estimator: CertaintyEstimator
) -> None:
    outside = ~torch.tensor(VISION)
    certainty = certainty_of(estimator)
    other = certainty_of(estimator, KL.masked_fill(outside, NAN), ENTROPY.masked_fill(outside, NAN))
    torch.testing.assert_close(certainty.response, other.response, equal_nan=True)
    torch.testing.assert_close(certainty.token, other.token)
    assert (certainty.token[outside] == 0.5).all()


@pytest.mark.parametrize("estimator", MEMBERS)
def test_no_vision_part_means_no_label(certainty_of: Callable[..., Certainty], estimator: CertaintyEstimator) -> None:
    assert certainty_of(estimator).response.isnan().tolist() == [False, False, True]


@pytest.mark.parametrize("estimator", MEMBERS)
def test_tiny_negative_figures_make_no_nan(
    certainty_of: Callable[..., Certainty], estimator: CertaintyEstimator
) -> None:
    certainty = certainty_of(estimator, torch.full((3, 3), -1e-7), torch.full((3, 3), -1e-7))
    assert certainty.response[:2].isfinite().all()
    assert certainty.token.isfinite().all()


@pytest.mark.parametrize("estimator", MEMBERS)
def test_no_gradient_passes_through(certainty_of: Callable[..., Certainty], estimator: CertaintyEstimator) -> None:
    certainty = certainty_of(estimator, KL.clone().requires_grad_(), ENTROPY.clone().requires_grad_())
    assert not certainty.response.requires_grad
    assert not certainty.token.requires_grad


def test_constant_certainty_says_its_value_of_every_vision_part(certainty_of: Callable[..., Certainty]) -> None:
    certainty = certainty_of(ConstantCertainty(0.3))
    torch.testing.assert_close(certainty.response, torch.tensor([0.3, 0.3, NAN]), equal_nan=True)
    expected = torch.tensor([[0.3, 0.3, 0.5], [0.3, 0.5, 0.5], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(certainty.token, expected)


def test_estimators_refuse_an_eps_of_zero_and_a_value_that_is_no_certainty() -> None:
    for member in (KLEntropyCertainty, KLCertainty, EntropyCertainty):
        with pytest.raises(ValueError, match="`eps` must be above 0.*got 0.0"):
            member(eps=0.0)
    with pytest.raises(ValueError, match=r"`value` must lie in \[0, 1\].*got 2.0"):
        ConstantCertainty(2.0)


def grouped(size: int, rows: int, counterfactual: Sequence[int] = ()) -> Rollouts:
    """Rollouts of which only the groups matter, some of them counterfactual."""
    tokens, nowhere = torch.zeros(rows, 1, dtype=torch.long), torch.zeros(rows, dtype=torch.bool)
    apart = nowhere.clone()
    apart[list(counterfactual)] = True
    return Rollouts(tokens, tokens == 0, tokens.float(), ("",) * rows, nowhere, size, counterfactual=apart)


def test_the_batch_labeler_compares_all_and_the_group_labeler_only_siblings() -> None:
    score = torch.tensor([0.0, 2.0, 10.0, 12.0])
    edges = torch.tensor([-1.0, 1.0]).sigmoid()
    torch.testing.assert_close(GroupLabeler()(score, grouped(2, 4)), edges.repeat(2))
    batch = BatchLabeler()(score, grouped(2, 4))
    assert batch.tolist() == sorted(batch.tolist())
    assert float(batch[1]) < 0.5 < float(batch[2])


@pytest.mark.parametrize("labeler", [BatchLabeler(), GroupLabeler(), WindowLabeler()])
def test_an_absent_score_stays_absent_and_moves_no_other(labeler: SoftLabeler) -> None:
    labels = labeler(torch.tensor([0.0, NAN, 2.0, NAN]), grouped(4, 4))
    torch.testing.assert_close(labels, torch.tensor([-1.0, NAN, 1.0, NAN]).sigmoid(), equal_nan=True)


@pytest.mark.parametrize("labeler", [BatchLabeler(), GroupLabeler(), WindowLabeler()])
def test_a_counterfactual_score_is_labelled_by_the_mean_and_the_deviation_of_the_others(labeler: SoftLabeler) -> None:
    labels = labeler(torch.tensor([0.0, 2.0, 5.0]), grouped(3, 3, counterfactual=[2]))
    torch.testing.assert_close(labels, torch.tensor([-1.0, 1.0, 4.0]).sigmoid())


@pytest.mark.parametrize("labeler", [BatchLabeler(), GroupLabeler(), WindowLabeler()])
def test_equal_scores_are_labelled_one_half(labeler: SoftLabeler) -> None:
    assert labeler(torch.full((8,), 0.1), grouped(8, 8)).tolist() == [0.5] * 8


def test_the_window_remembers_earlier_scores_and_forgets_the_oldest() -> None:
    labeler = WindowLabeler(size=4)
    labeler(torch.tensor([50.0, 0.0, 0.0]), grouped(1, 3))
    labels = labeler(torch.tensor([2.0, 2.0]), grouped(1, 2))  # the window now holds 0, 0, 2, 2
    torch.testing.assert_close(labels, torch.tensor([1.0, 1.0]).sigmoid())


def test_a_restored_window_continues_as_if_never_interrupted() -> None:
    labeler, restored = WindowLabeler(size=8), WindowLabeler(size=8)
    labeler(torch.tensor([1.0, 2.0, NAN, 4.0]), grouped(4, 4))
    restored.load_state_dict(labeler.state_dict())
    later = torch.tensor([0.3, 0.7])
    assert torch.equal(labeler(later, grouped(2, 2)), restored(later, grouped(2, 2)))


def test_an_empty_window_labels_nothing() -> None:
    assert WindowLabeler()(torch.tensor([NAN, NAN]), grouped(2, 2)).isnan().all()


def test_a_window_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`size` must be at least 2.*got 1"):
        WindowLabeler(size=1)
