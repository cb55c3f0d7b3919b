"""Weights of tokens whose sampling and training probabilities differ."""

from __future__ import annotations

import math

import pytest
import torch

from vlcal.objectives import NoCorrection, TruncatedImportance

TRAINED = torch.tensor([[0.4, 0.9, 0.2, 0.5]]).log()
SAMPLED = torch.tensor([[0.2, 0.1, 0.4, 0.1]]).log()
MASK = torch.tensor([[True, True, True, False]])


def test_the_ratio_of_both_probabilities_is_cut_at_the_cap() -> None:
    weights = TruncatedImportance(cap=3.0)(TRAINED, SAMPLED, MASK)

    torch.testing.assert_close(weights, torch.tensor([[2.0, 3.0, 0.5, 1.0]]))


def test_equal_probabilities_leave_every_token_as_it_is() -> None:
    torch.testing.assert_close(TruncatedImportance()(TRAINED, TRAINED, MASK), torch.ones(1, 4))


def test_a_token_that_sampling_held_impossible_stays_finite() -> None:
    weights = TruncatedImportance(cap=math.inf)(TRAINED, torch.full((1, 4), -1e9), MASK)

    assert weights.isfinite().all()


def test_no_correction_gives_ones_whatever_the_gap() -> None:
    assert torch.equal(NoCorrection()(TRAINED, SAMPLED, MASK), torch.ones(1, 4))


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`cap` must be at least 1, the weight where both passes agree; got 0.5"):
        TruncatedImportance(cap=0.5)
