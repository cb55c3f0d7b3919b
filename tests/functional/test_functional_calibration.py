from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.functional import (
    Bins,
    auroc,
    expected_calibration_error,
    reliability_bins_equal_mass,
    reliability_bins_equal_width,
    reliability_bins_per_value,
)

BINNINGS = [reliability_bins_equal_width, reliability_bins_equal_mass, reliability_bins_per_value]
Binning = Callable[..., Bins]


@pytest.fixture
def stated() -> Tensor:
    return torch.randint(11, (200,), generator=torch.Generator().manual_seed(0)) / 10


@pytest.fixture
def correct() -> Tensor:
    return torch.randint(2, (200,), generator=torch.Generator().manual_seed(1)).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_falls_into_the_bin_it_opens_and_one_into_the_last(dtype: torch.dtype) -> None:
    levels = torch.arange(11, dtype=dtype) / 10
    bins = reliability_bins_equal_width(levels, torch.zeros(11, dtype=dtype))
    assert bins.count.tolist() == [1] * 9 + [2]
    torch.testing.assert_close(bins.confidence[:9], levels[:9])


@pytest.mark.parametrize("bins", [7, 20, 100])
def test_edges_are_exact_for_any_number_of_bins(bins: int) -> None:
    edges = torch.arange(bins) / bins
    assert reliability_bins_equal_width(edges, torch.zeros(bins), bins).count.tolist() == [1] * bins


def test_empty_bins_are_absent_and_not_zero() -> None:
    bins = reliability_bins_equal_width(torch.tensor([0.05]), torch.tensor([1.0]))
    assert bins.count.tolist() == [1] + [0] * 9
    assert bins.confidence[1:].isnan().all()
    assert bins.accuracy[1:].isnan().all()


def test_equal_mass_bins_hold_equal_shares_of_distinct_confidences() -> None:
    stated = torch.rand(100, generator=torch.Generator().manual_seed(0))
    bins = reliability_bins_equal_mass(stated, torch.zeros(100), bins=10)
    assert bins.count.tolist() == [10] * 10
    torch.testing.assert_close(bins.confidence, stated.sort().values.reshape(10, 10).mean(-1))


def test_equal_mass_bins_do_not_tear_equal_confidences_apart() -> None:
    bins = reliability_bins_equal_mass(torch.tensor([0.5, 0.5, 0.5, 0.9]), torch.zeros(4), bins=2)
    assert bins.count.tolist() == [3, 1]


def test_per_value_bins_are_the_distinct_values_in_order() -> None:
    bins = reliability_bins_per_value(torch.tensor([0.9, 0.1, 0.9]), torch.tensor([True, False, False]))
    assert bins.count.tolist() == [2, 1][::-1]
    torch.testing.assert_close(bins.confidence, torch.tensor([0.1, 0.9]))
    torch.testing.assert_close(bins.accuracy, torch.tensor([0.0, 0.5]))


@pytest.mark.parametrize("binning", BINNINGS)
def test_order_of_the_rows_changes_nothing(binning: Binning, stated: Tensor, correct: Tensor) -> None:
    shuffled = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        tuple(binning(stated[shuffled], correct[shuffled])), tuple(binning(stated, correct)), equal_nan=True
    )


@pytest.mark.parametrize("binning", BINNINGS)
def test_bins_hold_every_row_once(binning: Binning, stated: Tensor, correct: Tensor) -> None:
    bins = binning(stated, correct)
    assert bins.count.sum() == 200
    torch.testing.assert_close((bins.count * bins.accuracy).nansum(), correct.sum())
    torch.testing.assert_close((bins.count * bins.confidence).nansum(), stated.sum())


@pytest.mark.parametrize("binning", BINNINGS)
def test_no_rows_give_no_error_figure(binning: Binning) -> None:
    assert expected_calibration_error(binning(torch.empty(0), torch.empty(0))).isnan()


def test_calibration_error_of_a_worked_table() -> None:
    bins = Bins(torch.tensor([3, 0, 1]), torch.tensor([0.2, torch.nan, 0.9]), torch.tensor([0.0, torch.nan, 1.0]))
    assert expected_calibration_error(bins).item() == pytest.approx((3 * 0.2 + 1 * 0.1) / 4)


@pytest.mark.parametrize("binning", BINNINGS)
def test_calibrated_confidences_have_no_error_and_reversed_ones_the_most(binning: Binning) -> None:
    half, outcome = torch.full((4,), 0.5), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert expected_calibration_error(binning(half, outcome)) == 0
    assert expected_calibration_error(binning(outcome, outcome)) == 0
    assert expected_calibration_error(binning(1 - outcome, outcome)) == 1


def test_merging_bins_never_raises_the_error(stated: Tensor, correct: Tensor) -> None:
    fine = expected_calibration_error(reliability_bins_per_value(stated, correct))
    coarse = expected_calibration_error(reliability_bins_equal_width(stated, correct, bins=2))
    assert coarse <= fine


def test_auroc_counts_pairs_and_ties_half() -> None:
    stated, correct = torch.tensor([0.8, 0.5, 0.5, 0.9]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    # 0.8 beats 0.5 and loses to 0.9; 0.5 ties with 0.5 and loses to 0.9
    assert auroc(stated, correct).item() == (1 + 0 + 0.5 + 0) / 4


def test_auroc_agrees_with_counting_every_pair(stated: Tensor, correct: Tensor) -> None:
    gap = stated[correct == 1][:, None] - stated[correct == 0]
    pairs = (gap > 0).double() + 0.5 * (gap == 0).double()
    assert auroc(stated, correct).item() == pytest.approx(pairs.mean().item())


def test_auroc_sees_only_the_order_and_turns_with_it(stated: Tensor, correct: Tensor) -> None:
    assert auroc(stated.exp() * 7, correct) == auroc(stated, correct)
    torch.testing.assert_close(auroc(-stated, correct), 1 - auroc(stated, correct))
    torch.testing.assert_close(auroc(stated, 1 - correct), 1 - auroc(stated, correct))


def test_one_number_for_everything_separates_nothing(correct: Tensor) -> None:
    assert auroc(torch.full((200,), 0.7), correct) == 0.5


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_auroc_of_one_class_only_is_absent(outcome: float) -> None:
    assert auroc(torch.tensor([0.1, 0.9]), torch.full((2,), outcome)).isnan()
    assert auroc(torch.empty(0), torch.empty(0)).isnan()


@pytest.mark.parametrize("figure", [*BINNINGS, auroc])
def test_absent_confidences_are_refused(figure: Binning) -> None:
    with pytest.raises(ValueError, match=r"`confidence` must hold no NaN, .* got 1 of 2"):
        figure(torch.tensor([0.5, torch.nan]), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("figure", [*BINNINGS, auroc])
def test_lengths_that_disagree_are_refused(figure: Binning) -> None:
    with pytest.raises(ValueError, match="`correct` must hold one outcome per confidence"):
        inspect.unwrap(figure)(torch.tensor([0.5, 0.6]), torch.tensor([1.0]))  # as it runs without shape checks


@pytest.mark.parametrize("binning", BINNINGS)
def test_undivided_levels_are_refused(binning: Binning) -> None:
    with pytest.raises(ValueError, match=r"`confidence` must lie in \[0, 1\]; got 7"):
        binning(torch.tensor([0.5, 7.0]), torch.tensor([1.0, 0.0]))


def test_no_bins_and_outcomes_between_right_and_wrong_are_refused() -> None:
    with pytest.raises(ValueError, match="`bins` must be at least 1"):
        reliability_bins_equal_width(torch.tensor([0.5]), torch.tensor([1.0]), bins=0)
    with pytest.raises(ValueError, match="`correct` must hold 0 or 1 only"):
        auroc(torch.tensor([0.5, 0.6]), torch.tensor([1.0, 0.5]))
