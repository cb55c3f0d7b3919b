"""Completions of which a part may not be looked at, everything else at its own place."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from vlcal.policy import EncodedPrompts, Policy
from vlcal.policy.packing import Plain, prompt_positions


class Gapped(Plain):
    """The plain layout where what a mask leaves out keeps its place.

    Models disagree about the place of what stands behind a hole in the mask: those with positions along several axes
    count what they may look at and close the gap, the others count everything. Here the positions are given, so that
    every distance stays as it was and the hole takes away nothing but the view.
    """

    def positions(
        self, policy: Policy, encoded: EncodedPrompts, owners: Int[Tensor, " N"], steps: int
    ) -> dict[str, Tensor]:
        """Places as if nothing were left out."""
        prompt, following = prompt_positions(policy.backbone, encoded)
        own = following[owners, None] + torch.arange(steps, device=following.device)
        places = [torch.cat([axis[owners], own.to(axis.dtype)], 1) for axis in prompt]
        return {"position_ids": torch.stack(places).squeeze(0)}
