"""Plain rows in which completion tokens outside the mask keep their positions."""

from __future__ import annotations

import torch
from torch import Tensor

from vlcal.policy.layouts.continuations import Continuations
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.layout import Plain


class MaskedPrefixLayout(Plain):
    """The plain layout for masks with gaps: a masked token is hidden from attention and keeps its position.

    Left to themselves, models differ: those with multimodal rotary positions count the tokens inside the mask and close
    the gap, the others count all tokens. Explicit positions keep every distance as it was.
    """

    def positions(self, model: HeadlessModel, continuations: Continuations) -> dict[str, Tensor]:
        """Positions as if every token were inside the mask."""
        prompt_index = continuations.prompt_index
        prompt, following = model.positions(continuations.encoded)
        own = following[prompt_index, None] + torch.arange(continuations.tokens.shape[1], device=following.device)
        axes = [torch.cat([axis[prompt_index], own.to(axis.dtype)], 1) for axis in prompt]
        return {"position_ids": torch.stack(axes).squeeze(0)}
