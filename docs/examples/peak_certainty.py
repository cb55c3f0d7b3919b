"""A certainty estimator of your own: the vision token that the image changes most."""

import torch

from vlcal.certainty import BatchLabeler, CertaintyEstimator, SoftLabeler
from vlcal.parts import fresh_defaults
from vlcal.types import Certainty, Evidence, Responses, Rollouts


class PeakCertainty(CertaintyEstimator):
    """Certain where at least one vision token leans on the image: `S = log(max_t KL_t + eps)` over vision tokens.

    Args:
        labeler: What a response's score is compared with.
        eps: Added to the KL before the logarithm, in nats.
    """

    @fresh_defaults
    def __init__(self, labeler: SoftLabeler = BatchLabeler(), eps: float = 1e-6) -> None:
        self.labeler = labeler
        self.eps = eps

    @torch.no_grad()
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """Labels of responses by their peak, of tokens by their own KL; NaN where there is no visual evidence."""
        vision = responses.spans.vision & ~evidence.visual_kl.isnan()
        kl = evidence.visual_kl.clamp(min=0).masked_fill(~vision, 0.0)
        seen = vision.any(dim=1)
        score = torch.where(seen, (kl.amax(dim=1) + self.eps).log(), torch.nan)
        share = kl / kl.amax().clamp(min=self.eps)
        token = torch.where(vision, share, 0.5)  # 0.5 says nothing either way
        return Certainty(token=token, response=self.labeler(score, rollouts), score=score)
