"""Plain rows in which the first tokens of completions are hidden from the model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool
from torch import Tensor

from vlcal.policy.layouts.continuations import Continuations
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.layout import Plain


class MaskedPrefixLayout(Plain):
    """The plain layout with tokens hidden from attention, each keeping its position.

    Left to themselves, models differ: those with multimodal rotary positions count the tokens that attention sees and
    close the gap, the others count all tokens. Explicit positions keep every distance as it was.

    Args:
        seen: False on the completion tokens that are hidden.
    """

    def __init__(self, seen: Bool[Tensor, "N T"]) -> None:
        self.seen = seen

    def attended(self, continuations: Continuations) -> Bool[Tensor, "N T"]:
        """The tokens of each completion but for the hidden ones."""
        return continuations.mask & self.seen

    def positions(self, model: HeadlessModel, continuations: Continuations) -> Mapping[str, Tensor]:
        """Positions as if no token were hidden."""
        prompt_index = continuations.prompt_index
        prompt, following = model.positions(continuations.encoded)
        own = following[prompt_index, None] + torch.arange(continuations.tokens.shape[1], device=following.device)
        axes = [torch.cat([axis[prompt_index], own.to(axis.dtype)], 1) for axis in prompt]
        return {"position_ids": torch.stack(axes).squeeze(0)}
