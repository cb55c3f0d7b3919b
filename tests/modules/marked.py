"""Real completions of a policy of random weights, read as if they were well-formed responses."""

from __future__ import annotations

from dataclasses import replace

import torch

from vlcal.policy import Policy
from vlcal.training.reader import ResponseReader
from vlcal.types import PromptBatch, Responses, Rollouts

SEEN = 4  # tokens of the vision part


class MarkedReader(ResponseReader):
    """Takes the first tokens of a completion for its vision part and the next two for its confidences.

    The answer is right where the first token has an odd number. The confidences are the levels at the numbers of their
    tokens, modulo the levels. A completion that ends before states nothing.
    """

    def read(self, policy: Policy, prompts: PromptBatch, rollouts: Rollouts) -> Responses:
        """What is said, marked."""
        said = super().read(policy, prompts, rollouts)
        steps = torch.arange(rollouts.tokens.shape[1])
        stated = rollouts.mask.sum(1) > SEEN + 2
        visual, reasoning = (self._level(rollouts, stated, SEEN + place) for place in (0, 1))
        return replace(
            said,
            correct=(rollouts.tokens[:, 0] % 2).float(),
            visual=visual,
            reasoning=reasoning,
            overall=self.overall(visual, reasoning),
            spans=replace(
                said.spans,
                vision=rollouts.mask & (steps < SEEN),
                visual_confidence=stated[:, None] & (steps == SEEN),
                reasoning_confidence=stated[:, None] & (steps == SEEN + 1),
            ),
        )

    def _level(self, rollouts: Rollouts, stated: torch.Tensor, place: int) -> torch.Tensor:
        if rollouts.tokens.shape[1] <= place:
            return torch.full((len(rollouts),), torch.nan)
        levels = torch.tensor(self.grammar.levels) / max(self.grammar.levels)
        return levels[rollouts.tokens[:, place] % len(levels)].masked_fill(~stated, torch.nan)
