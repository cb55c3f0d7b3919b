"""How well stated confidences match outcomes, and how well they tell right from wrong.

An absent confidence (NaN) is refused: whether it is left out or counted as a mistake is for the caller to say.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Bins(NamedTuple):
    """A reliability diagram as figures: per bin how many, their mean confidence and accuracy (NaN in an empty bin)."""

    count: Int[Tensor, " B"]  # type: ignore[assignment]  # hides tuple.count, of no use for tensors
    confidence: Float[Tensor, " B"]
    accuracy: Float[Tensor, " B"]


def reliability_bins_equal_width(
    confidence: Float[Tensor, " N"], correct: Float[Tensor, " N"] | Bool[Tensor, " N"], bins: int = 10
) -> Bins:
    """Bins of equal width over [0, 1], each with its lower edge, the last with 1.0 too.

    >>> reliability_bins_equal_width(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.0, 1.0]), bins=2)
    Bins(count=tensor([1, 2]), confidence=tensor([0.0000, 0.7500]), accuracy=tensor([0.0000, 0.5000]))
    """
    _check(confidence, correct)
    _check_bins(bins)
    # The nudge puts a level on an edge into the bin that starts there, however its division by ten was rounded.
    index = ((confidence + 1e-6) * bins).floor().long().clamp(max=bins - 1)
    return _bins(index, confidence, correct, bins)


def reliability_bins_equal_mass(
    confidence: Float[Tensor, " N"], correct: Float[Tensor, " N"] | Bool[Tensor, " N"], bins: int = 10
) -> Bins:
    """Bins of as equal a number of confidences as can be had without tearing equal ones apart; some may stay empty.

    Equal confidences share the bin of their middle rank, so that the order of the rows changes nothing.

    >>> reliability_bins_equal_mass(torch.tensor([0.7, 0.8, 0.9, 1.0]), torch.tensor([0.0, 1.0, 1.0, 1.0]), bins=2)
    Bins(count=tensor([2, 2]), confidence=tensor([0.7500, 0.9500]), accuracy=tensor([0.5000, 1.0000]))
    """
    _check(confidence, correct)
    _check_bins(bins)
    twice_rank = _twice_rank(confidence, among=confidence)
    return _bins(twice_rank * bins // (2 * max(len(confidence), 1)), confidence, correct, bins)


def reliability_bins_per_value(
    confidence: Float[Tensor, " N"], correct: Float[Tensor, " N"] | Bool[Tensor, " N"]
) -> Bins:
    """One bin for each distinct confidence, in ascending order: exact for a policy that states a few levels.

    >>> reliability_bins_per_value(torch.tensor([0.5, 1.0, 0.5]), torch.tensor([0.0, 1.0, 1.0]))
    Bins(count=tensor([2, 1]), confidence=tensor([0.5000, 1.0000]), accuracy=tensor([0.5000, 1.0000]))
    """
    _check(confidence, correct)
    values, index = torch.unique(confidence, return_inverse=True)
    return _bins(index, confidence, correct, len(values))


def expected_calibration_error(bins: Bins) -> Float[Tensor, ""]:
    """Gap between mean confidence and accuracy of a bin, averaged over all predictions; NaN without any.

    Naeini, Cooper and Hauskrecht (2015); Guo et al. (2017), equation 3.

    >>> bins = reliability_bins_equal_width(torch.tensor([1.0, 1.0, 0.25]), torch.tensor([1.0, 0.0, 0.0]))
    >>> expected_calibration_error(bins)  # (2 * 0.5 + 1 * 0.25) / 3
    tensor(0.4167)
    """
    gaps = torch.where(bins.count > 0, (bins.confidence - bins.accuracy).abs(), 0)
    return (bins.count * gaps).sum() / bins.count.sum()


def auroc(confidence: Float[Tensor, " N"], correct: Float[Tensor, " N"] | Bool[Tensor, " N"]) -> Float[Tensor, ""]:
    """Chance that a right prediction is surer than a wrong one, a tie counting half; NaN if all are right or all wrong.

    Any score will do, not only one in [0, 1]. Hanley and McNeil (1982).

    >>> auroc(torch.tensor([0.9, 0.5, 0.5]), torch.tensor([1.0, 1.0, 0.0]))  # one pair won, one tied
    tensor(0.7500)
    """
    _check_lengths(confidence, correct)
    if not ((correct == 0) | (correct == 1)).all():
        raise ValueError(
            "`correct` must hold 0 or 1 only, since AUROC compares the right with the wrong; got other values. "
            "Leave out what is unknown and set a threshold for what is partly right."
        )
    right, wrong = confidence[correct == 1], confidence[correct == 0]
    twice_won = _twice_rank(right, among=wrong).sum()
    # 0 / 0 is the NaN of one class only.
    return (twice_won / (2 * len(right) * len(wrong))).to(confidence.dtype)


def _twice_rank(values: Tensor, among: Tensor) -> Tensor:
    """Per value how many of `among` lie below it plus how many do not lie above it: twice its middle rank."""
    ordered = among.sort().values
    return torch.searchsorted(ordered, values) + torch.searchsorted(ordered, values, right=True)


def _bins(index: Tensor, confidence: Tensor, correct: Tensor, bins: int) -> Bins:
    count = torch.bincount(index, minlength=bins)
    zeros = confidence.new_zeros(bins)
    # 0 / 0 is the NaN of an empty bin.
    stated = zeros.index_add(0, index, confidence) / count
    return Bins(count, stated, zeros.index_add(0, index, correct.to(confidence.dtype)) / count)


def _check_bins(bins: int) -> None:
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1; got {bins}.")


def _check(confidence: Tensor, correct: Tensor) -> None:
    _check_lengths(confidence, correct)
    outside = confidence[(confidence < 0) | (confidence > 1)]
    if len(outside):
        raise ValueError(
            f"`confidence` must lie in [0, 1]; got {outside[0].item()}. Divide stated levels by the top one."
        )


def _check_lengths(confidence: Tensor, correct: Tensor) -> None:
    if confidence.shape != correct.shape:
        raise ValueError(
            f"`correct` must hold one outcome per confidence; got {tuple(correct.shape)} for {tuple(confidence.shape)}."
        )
    absent = int(confidence.isnan().sum())
    if absent:
        raise ValueError(
            f"`confidence` must hold no NaN, since an absent confidence has no bin and no rank; got {absent} of "
            f"{len(confidence)}. Leave those rows out, or give them a value, and say which."
        )
