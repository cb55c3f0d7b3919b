"""Proper scores, written as losses, and the ways to join two confidences into one.

Every function broadcasts, and NaN, an absent confidence, passes through. An outcome may be soft: the loss is then the
expectation over it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError


def brier_score(confidence: Float[Tensor, "*#shape"], outcome: Float[Tensor, "*#shape"]) -> Float[Tensor, "*joint"]:
    """Squared gap between stated confidence and outcome; 0 is perfect, 1 is worst. Brier (1950).

    With a soft outcome it is the gap to that outcome, which is the expectation less a constant.

    >>> brier_score(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([0.2500, 0.0000])
    """
    return (confidence - outcome) ** 2


def log_score(
    confidence: Float[Tensor, "*#shape"], outcome: Float[Tensor, "*#shape"], floor: float = 1e-3
) -> Float[Tensor, "*joint"]:
    """Negative log-likelihood of the outcome, in nats. Good (1952).

    The confidence is kept `floor` away from 0 and 1, so the loss lies between -log(1 - floor) and -log(floor), by
    default 0.001 and 6.9: the clipping of Rewarding Doubt (2025, arXiv 2503.02623). Clamping the confidence, and not
    the likelihood of each outcome, keeps the score proper.

    >>> log_score(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 1.0]))
    tensor([0.6931, 6.9078])
    """
    if not 0 < floor < 0.5:
        raise UserError(
            f"`floor` must lie between 0 and 0.5, since a certain mistake would cost infinitely much; got {floor}."
        )
    likely = confidence.clamp(floor, 1 - floor)
    return -(outcome * likely.log() + (1 - outcome) * torch.log1p(-likely))


def spherical_score(confidence: Float[Tensor, "*#shape"], outcome: Float[Tensor, "*#shape"]) -> Float[Tensor, "*joint"]:
    """One minus the spherical score, the cosine between stated distribution and outcome; 0 is perfect, 1 is worst.

    Roby (1965); Gneiting and Raftery (2007), example 2.

    >>> spherical_score(torch.tensor([1.0, 0.0, 0.6]), torch.tensor([1.0, 1.0, 1.0]))  # 1 - 0.6 / sqrt(0.52)
    tensor([0.0000, 1.0000, 0.1679])
    """
    length = (confidence**2 + (1 - confidence) ** 2).sqrt()
    return 1 - (outcome * confidence + (1 - outcome) * (1 - confidence)) / length


def harmonic_confidence(
    visual: Float[Tensor, "*#shape"], reasoning: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*joint"]:
    """Harmonic mean of both confidences, 0 when either is 0: the weakest link rules. Xiao, Xu and Gan (2026).

    >>> harmonic_confidence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]))
    tensor([0.6667, 0.0000])
    """
    total = visual + reasoning
    # A total of 0 is replaced before the division: replacing the quotient afterwards leaves a NaN gradient.
    return 2 * visual * reasoning / torch.where(total == 0, 1, total)


def product_confidence(
    visual: Float[Tensor, "*#shape"], reasoning: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*joint"]:
    """Chance that both are right if they fail independently of each other.

    >>> product_confidence(torch.tensor([0.5]), torch.tensor([0.5]))
    tensor([0.2500])
    """
    return visual * reasoning


def minimum_confidence(
    visual: Float[Tensor, "*#shape"], reasoning: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*joint"]:
    """The lower of both confidences.

    >>> minimum_confidence(torch.tensor([0.5, 1.0]), torch.tensor([0.75, 0.0]))
    tensor([0.5000, 0.0000])
    """
    return torch.minimum(visual, reasoning)
