"""Certainty on the scale of probability, learned from which answers turned out right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from vlcal.certainty.base import CertaintyEstimator
from vlcal.certainty.visual import KLEntropyCertainty
from vlcal.errors import UserError
from vlcal.parts import Stateful, fresh_defaults, load_states, states_of
from vlcal.types import Certainty, Evidence, Responses, Rollouts

ENOUGH = 64


class PlattCertainty(CertaintyEstimator, Stateful):
    """The probability that the answer is right, given the score of another estimator. Platt (1999).

    A label normalised over a batch says which responses saw better than others, on no scale: its mean is a half
    however many are right, it never comes near 0 or 1, and so it pulls the visual confidence away from calibration. A
    logistic regression of the verified answers on the score, over recent responses, puts the same ranking on the scale
    of probability: `P(correct | S) = sigmoid(a S + b)`, with a and b of the greatest likelihood under an L2 penalty on
    a. It needs no label that the accuracy reward does not need, and no judgement of the image.

    It remembers recent responses, so a step can be replayed only with its state. Counterfactual completions get their
    label from the fit and have no part in it: they are no sample of what the policy reads and gets right. Until both
    right and wrong answers are among 64 responses, the label of the other estimator stands.

    Args:
        estimator: Gives the score, and the labels of single tokens.
        size: Recent responses that the regression is fitted to.
    """

    @fresh_defaults
    def __init__(self, estimator: CertaintyEstimator = KLEntropyCertainty(), size: int = 1024) -> None:
        if size < ENOUGH:
            raise UserError(f"`size` must be at least {ENOUGH} responses, or the fit follows chance; got {size}.")
        self.estimator = estimator
        self.size = size
        self._recent: Float[Tensor, "n 2"] = torch.empty(0, 2)

    @torch.no_grad()
    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        """The other estimator's certainty, its response label fitted to the outcomes so far and of this batch."""
        certainty = self.estimator(evidence, rollouts, responses)
        known = torch.stack([certainty.score, responses.correct], 1).float().cpu()
        known = known[known[:, 0].isfinite() & ~rollouts.counterfactual.cpu()]
        self._recent = torch.cat([self._recent, known])[-self.size :]
        right = (self._recent[:, 1] >= 0.5).numpy()
        if len(right) < ENOUGH or right.all() or not right.any():
            return certainty
        fit = LogisticRegression().fit(self._recent[:, :1].numpy(), right)
        slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
        return replace(certainty, response=torch.sigmoid(slope * certainty.score + offset))

    def state_dict(self) -> dict[str, Any]:
        """The recent responses, and what the other estimator remembers."""
        return {"recent": self._recent, **states_of({"estimator": self.estimator})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember those of another run."""
        self._recent = state.get("recent", self._recent)
        load_states({"estimator": self.estimator}, state)
