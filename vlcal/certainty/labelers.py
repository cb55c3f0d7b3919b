"""Scores to soft labels: what a score is compared with before it counts as high or low."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.errors import UserError
from vlcal.functional.certainty import soft_label_batch, soft_label_group, soft_label_window
from vlcal.functional.masked import masked_mean, masked_std
from vlcal.parts import Stateful
from vlcal.types import Rollouts


class SoftLabeler(ABC):
    """Turns scores S of any scale into labels `sigmoid((S - mean S) / std S)`, in (0, 1).

    Members differ in what scores the mean and the standard deviation are of. Those of counterfactual completions are in
    none of them: such a completion is labelled by the mean and the deviation of the others.
    """

    @abstractmethod
    def __call__(self, score: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, " N"]:
        """Sigmoid of the standardised score; NaN where the score is, and such a score counts in no mean."""


class BatchLabeler(SoftLabeler):
    """Compares with every response of the step; as published, a label thus depends on the prompts drawn beside it."""

    def __call__(self, score: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, " N"]:
        """Labels standardised over the whole step."""
        return soft_label_batch(score, ~rollouts.counterfactual)


class GroupLabeler(SoftLabeler):
    """Compares with the other responses to the same prompt; says nothing of one image against another."""

    def __call__(self, score: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, " N"]:
        """Labels standardised within each group."""
        return soft_label_group(score, rollouts.group_size, ~rollouts.counterfactual)


class WindowLabeler(SoftLabeler, Stateful):
    """Compares with the latest scores of this and earlier steps, so that a small batch has something to stand against.

    It remembers its window: saved and loaded with the run, put back after a validation.

    Args:
        size: Number of latest scores to compare with, at least 2.
    """

    def __init__(self, size: int = 1024) -> None:
        if size < 2:
            raise UserError(f"`size` must be at least 2, since one score has nothing to be compared with; got {size}.")
        self.size = size
        self._scores: deque[float] = deque(maxlen=size)

    def __call__(self, score: Float[Tensor, " N"], rollouts: Rollouts) -> Float[Tensor, " N"]:
        """Labels standardised over the window, which now holds these scores too."""
        self._scores.extend(score[~score.isnan() & ~rollouts.counterfactual].tolist())
        window = torch.tensor(self._scores, dtype=score.dtype, device=score.device)
        every = torch.ones_like(window, dtype=torch.bool)
        return soft_label_window(score, masked_mean(window, every), masked_std(window, every))

    def state_dict(self) -> dict[str, Any]:
        """The window, oldest score first."""
        return {"scores": torch.tensor(self._scores, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved window; of a longer one the latest scores are kept."""
        if "scores" in state:
            self._scores = deque(state["scores"].tolist(), maxlen=self.size)
