"""The family of certainty estimators and its null member."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool
from torch import Tensor

from vlcal.errors import UserError
from vlcal.types import Certainty, Evidence, Responses, Rollouts


class CertaintyEstimator(ABC):
    """Infers from what was measured how certain the policy was of what it saw.

    Its soft labels are the target of the visual confidence and steer the advantages of the vision tokens. No annotation
    of the image goes into them, and no gradient passes through them. A member that remembers something between steps is
    `Stateful`.

    A counterfactual completion is labelled like the others and changes no score and no label of theirs.

    No image is no visual evidence: a response with nothing to perturb has no score and no label (NaN), and changes no
    score and no label of others.
    """

    @abstractmethod
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Soft labels of every token and every response of one step."""


class ConstantCertainty(CertaintyEstimator):
    """Calls every vision part equally certain, whatever was measured. The null member.

    Args:
        value: The certainty of every vision token and every response, in [0, 1]; 0.5 says nothing either way.
    """

    def __init__(self, value: float = 0.5) -> None:
        if not 0.0 <= value <= 1.0:
            raise UserError(f"`value` must lie in [0, 1] like every certainty; got {value}.")
        self.value = value

    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """The value wherever there is a vision part about an image."""
        vision = visual_tokens(evidence, responses)
        token = torch.where(vision, self.value, torch.full_like(evidence.entropy, 0.5))
        response = torch.where(vision.any(dim=-1), self.value, torch.full_like(token[:, 0], torch.nan))
        return Certainty(token=token, response=response, score=response)


def visual_tokens(evidence: Evidence, responses: Responses) -> Bool[Tensor, "N T"]:
    """True on the vision tokens of responses with visual evidence: all that scores and labels are made of."""
    return responses.spans.vision & ~evidence.visual_kl.isnan()
