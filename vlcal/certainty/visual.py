"""Certainty of what was seen, from grounding, uncertainty, or both."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.certainty.base import CertaintyEstimator, visual_tokens
from vlcal.certainty.labelers import BatchLabeler, SoftLabeler
from vlcal.errors import UserError
from vlcal.functional.certainty import token_soft_labels, visual_score
from vlcal.functional.masked import masked_mean
from vlcal.parts import Stateful, fresh_defaults, load_states, states_of
from vlcal.types import Certainty, Evidence, Responses, Rollouts


class VisualCertainty(CertaintyEstimator, Stateful):
    """What the estimators over vision tokens share: a score of each response, and labels that compare scores.

    With the means D of the KL and H of the entropy over the vision part, the score is `log(D + eps) - log(H + eps)`, or
    one of its two terms, and the label is that of the labeler, such as `sigmoid((S - mean S) / std S)`. A token has the
    label of its own KL and entropy among all vision tokens.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to KL and entropy before the logarithm, in nats, above 0.
    """

    @fresh_defaults
    def __init__(self, labeler: SoftLabeler = BatchLabeler(), eps: float = 1e-6) -> None:
        if not (eps > 0.0 and math.isfinite(eps)):
            raise UserError(
                f"`eps` must be above 0, since the logarithm of a KL of 0 is not finite; got {eps}. Try 1e-6."
            )
        self.labeler = labeler
        self.eps = eps

    @abstractmethod
    def measured(self, evidence: Evidence) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        """KL and entropy of each token; 1 - eps, whose logarithm with eps added is 0, where one does not count."""

    @torch.no_grad()
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Soft labels from the vision part: of a response by its means, of a token by its own KL and entropy."""
        (kl, entropy), vision = self.measured(evidence), visual_tokens(evidence, responses)
        score = visual_score(masked_mean(kl, vision), masked_mean(entropy, vision), eps=self.eps)
        token = token_soft_labels(kl, entropy, vision, eps=self.eps, compared=~rollouts.counterfactual)
        return Certainty(token=token, response=self.labeler(score, rollouts), score=score)

    def state_dict(self) -> dict[str, Any]:
        """What the labeler remembers."""
        return states_of({"labeler": self.labeler})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the labeler remember again."""
        load_states({"labeler": self.labeler}, state)


class KLEntropyCertainty(VisualCertainty):
    """High where the vision part depends on the image and is unambiguous: `S = log(D + eps) - log(H + eps)`; published.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to KL and entropy before the logarithm, in nats, above 0.
    """

    def measured(self, evidence: Evidence) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        return evidence.visual_kl, evidence.entropy


class KLCertainty(VisualCertainty):
    """High where the vision part depends on the image: `S = log(D + eps)`; an ablation that learns to inflate the KL.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to the KL before the logarithm, in nats, above 0.
    """

    def measured(self, evidence: Evidence) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        return evidence.visual_kl, torch.full_like(evidence.visual_kl, 1.0 - self.eps)


class EntropyCertainty(VisualCertainty):
    """High where the vision part is unambiguous: `S = -log(H + eps)`; an ablation that learns to collapse the entropy.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to the entropy before the logarithm, in nats, above 0.
    """

    def measured(self, evidence: Evidence) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        return torch.full_like(evidence.entropy, 1.0 - self.eps), evidence.entropy
