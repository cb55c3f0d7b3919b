"""Certainty of what was seen, from grounding, uncertainty, or both."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.certainty.base import CertaintyEstimator
from vlcal.certainty.labelers import BatchLabeler, SoftLabeler
from vlcal.functional.certainty import token_soft_labels, visual_score
from vlcal.functional.masked import masked_mean
from vlcal.types import Certainty, Evidence, Responses, Rollouts


class KLEntropyCertainty(CertaintyEstimator):
    """Sure where the vision part leaned on the image and was not torn: log KL - log entropy; as published.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to KL and entropy before the logarithm, in nats, above 0.
    """

    def __init__(self, labeler: SoftLabeler = BatchLabeler(), eps: float = 1e-6) -> None:
        _check_eps(eps)
        self.labeler = labeler
        self.eps = eps

    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Labels from log KL - log entropy."""
        return _certainty(
            evidence.visual_kl, evidence.entropy, responses.spans.vision, self.labeler, rollouts.group_size, self.eps
        )


class KLCertainty(CertaintyEstimator):
    """Sure where the vision part leaned on the image: log KL alone; an ablation that learns to inflate the KL.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to the KL before the logarithm, in nats, above 0.
    """

    def __init__(self, labeler: SoftLabeler = BatchLabeler(), eps: float = 1e-6) -> None:
        _check_eps(eps)
        self.labeler = labeler
        self.eps = eps

    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Labels from log KL."""
        kl = evidence.visual_kl
        return _certainty(
            kl, _neutral(kl, self.eps), responses.spans.vision, self.labeler, rollouts.group_size, self.eps
        )


class EntropyCertainty(CertaintyEstimator):
    """Sure where the vision part was not torn: -log entropy alone; an ablation that learns to collapse the entropy.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to the entropy before the logarithm, in nats, above 0.
    """

    def __init__(self, labeler: SoftLabeler = BatchLabeler(), eps: float = 1e-6) -> None:
        _check_eps(eps)
        self.labeler = labeler
        self.eps = eps

    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Labels from -log entropy."""
        entropy = evidence.entropy
        return _certainty(
            _neutral(entropy, self.eps), entropy, responses.spans.vision, self.labeler, rollouts.group_size, self.eps
        )


@torch.no_grad()
def _certainty(
    kl: Float[Tensor, "N T"],
    entropy: Float[Tensor, "N T"],
    vision: Bool[Tensor, "N T"],
    labeler: SoftLabeler,
    group_size: int,
    eps: float,
) -> Certainty:
    """Soft labels from the vision part: of a response by its means, of a token by its own figures."""
    score = visual_score(masked_mean(kl, vision), masked_mean(entropy, vision), eps=eps)
    token = token_soft_labels(kl, entropy, vision, eps=eps)
    return Certainty(token=token, response=labeler(score, group_size), score=score)


def _neutral(figure: Float[Tensor, "N T"], eps: float) -> Float[Tensor, "N T"]:
    """What the other figure is set to where it shall not count: the value whose logarithm, eps added, is 0."""
    return torch.full_like(figure, 1.0 - eps)


def _check_eps(eps: float) -> None:
    """Refuse an eps that leaves the logarithm of 0 undefined."""
    if not (eps > 0.0 and math.isfinite(eps)):
        raise ValueError(f"`eps` must be above 0, since the logarithm of a KL of 0 is not finite; got {eps}. Try 1e-6.")
