"""A reward of your own: short responses are paid, and the columns of a row can set the limit."""

import torch

from vlcal.rewards import Attempts, Reward


class BrevityReward(Reward):
    """1 for a response within the number of characters that its row allows, less in proportion for a longer one.

    Args:
        limit: Characters allowed where the row has no column `limit`, at least 1.
        weight: Factor on this term in the total.
    """

    def __init__(self, limit: int = 400, weight: float = 0.1) -> None:
        super().__init__(weight)
        self.limit = limit

    def __call__(self, attempts: Attempts) -> torch.Tensor:
        allowed = [extras.get("limit", self.limit) for extras in attempts.asked.extras]
        lengths = [max(1, len(text)) for text in attempts.rollouts.texts]
        shares = [min(1.0, limit / length) for limit, length in zip(allowed, lengths, strict=True)]
        return torch.tensor(shares, device=attempts.responses.correct.device)
