from __future__ import annotations

import math

import pytest
import torch

from vlcal.functional import soft_label_batch, soft_label_group, soft_label_window, token_soft_labels, visual_score

NAN = float("nan")
SURE, UNSURE = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))  # one deviation above, one below


def test_score_is_the_log_of_grounding_over_uncertainty() -> None:
    score = visual_score(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 4.0]))
    torch.testing.assert_close(score, torch.tensor([math.log(2), -math.log(4)]), rtol=1e-5, atol=1e-5)


def test_score_grows_with_grounding_and_falls_with_uncertainty() -> None:
    rising = torch.linspace(0, 3, 20)
    assert (visual_score(rising, torch.ones(20)).diff() > 0).all()
    assert (visual_score(torch.ones(20), rising).diff() < 0).all()


def test_tiny_negative_figures_count_as_zero() -> None:
    tiny = torch.tensor([-1e-5])
    assert torch.equal(visual_score(tiny, tiny), torch.zeros(1))


def test_absent_figures_stay_absent() -> None:
    assert visual_score(torch.tensor([NAN, 1.0]), torch.tensor([1.0, NAN])).isnan().all()


def test_labels_are_the_sigmoid_of_the_standard_score() -> None:
    torch.testing.assert_close(soft_label_batch(torch.tensor([-3.0, 1.0])), torch.tensor([UNSURE, SURE]))
    torch.testing.assert_close(
        soft_label_group(torch.tensor([3.0, 1.0, 10.0, 30.0]), 2)[2:], torch.tensor([UNSURE, SURE])
    )
    torch.testing.assert_close(soft_label_window(torch.tensor([2.0, 6.0]), 4.0, 2.0), torch.tensor([UNSURE, SURE]))


def test_absent_scores_stay_absent_and_do_not_move_the_others() -> None:
    without = soft_label_batch(torch.tensor([1.0, 2.0, 5.0]))
    with_absent = soft_label_batch(torch.tensor([1.0, NAN, 2.0, 5.0]))
    assert with_absent[1].isnan()
    torch.testing.assert_close(with_absent[[0, 2, 3]], without)
    assert soft_label_batch(torch.tensor([NAN, NAN])).isnan().all()
    assert soft_label_window(torch.tensor([NAN]), 0.0, 1.0).isnan().all()


def test_scores_without_spread_say_nothing() -> None:
    assert soft_label_batch(torch.full((7,), 0.1)).tolist() == [0.5] * 7
    assert soft_label_batch(torch.tensor([0.1, NAN]))[0] == 0.5
    assert soft_label_group(torch.tensor([2.0, 7.0]), 1).tolist() == [0.5, 0.5]
    assert soft_label_window(torch.tensor([1.0, 9.0]), mean=3.0, std=0.0).tolist() == [0.5, 0.5]


def test_an_empty_window_says_nothing() -> None:
    assert soft_label_window(torch.tensor([1.0]), mean=NAN, std=NAN).tolist() == [0.5]


def test_batch_labels_ignore_shift_and_scale_and_follow_order() -> None:
    score = torch.tensor([0.3, -1.0, 2.0, 0.7])
    labels = soft_label_batch(score)
    torch.testing.assert_close(soft_label_batch(4 * score + 3), labels)
    torch.testing.assert_close(soft_label_batch(score.flip(0)), labels.flip(0))


def test_group_labels_do_not_depend_on_other_groups() -> None:
    first = soft_label_group(torch.tensor([0.0, 1.0, 5.0, 9.0]), 2)[:2]
    assert torch.equal(first, soft_label_group(torch.tensor([0.0, 1.0, -3.0, NAN]), 2)[:2])


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ValueError, match="`group_size` must be at least 1 and divide the number of completions; got 2 for 3"
    ):
        soft_label_group(torch.zeros(3), 2)
    with pytest.raises(ValueError, match="`group_size` must be at least 1"):
        soft_label_group(torch.zeros(3), 0)


def test_tokens_are_standardised_over_every_token_that_counts() -> None:
    kl = torch.tensor([[1.0, 99.0], [math.e**2, 0.0]])
    mask = torch.tensor([[True, False], [True, False]])
    labels = token_soft_labels(kl, torch.ones(2, 2), mask, eps=0.0)
    torch.testing.assert_close(labels, torch.tensor([[UNSURE, 0.5], [SURE, 0.5]]))


def test_tokens_outside_the_mask_change_no_label() -> None:
    mask = torch.tensor([[True, True, False]])
    entropy = torch.ones(1, 3)
    spoiled = token_soft_labels(torch.tensor([[1.0, 2.0, NAN]]), entropy, mask)
    assert torch.equal(spoiled, token_soft_labels(torch.tensor([[1.0, 2.0, 5.0]]), entropy, mask))


def test_a_token_without_a_score_gets_one_half_and_changes_no_other_label() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    labels = token_soft_labels(torch.tensor([[1.0, NAN, 2.0]]), torch.ones(1, 3), mask)
    torch.testing.assert_close(labels, torch.tensor([[UNSURE, 0.5, SURE]]))


def test_without_a_token_that_counts_every_label_is_one_half() -> None:
    labels = token_soft_labels(torch.rand(2, 3), torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert (labels == 0.5).all()
