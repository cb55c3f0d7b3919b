"""Completions of which a part may not be looked at, everything else at its own place."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.policy import EncodedPrompts, Policy
from vlcal.policy.packing import Plain, prompt_positions


class Gapped(Plain):
    """The plain layout where what a mask leaves out keeps its place.

    Models disagree about the place of what stands behind a hole in the mask: those with positions along several axes
    count what they may look at and close the gap, the others count everything. Here the positions are given, so that
    every distance stays as it was and the hole takes away nothing but the view.
    """

    def hidden(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        owners: Int[Tensor, " N"],
    ) -> Float[Tensor, "N T D"]:
        inputs = encoded.select(owners.tolist()).model_inputs()
        behind = {"input_ids": tokens, "attention_mask": mask}
        for name in encoded.rows:
            values = behind.get(name, torch.zeros_like(tokens))
            inputs[name] = torch.cat([inputs[name], values.to(inputs[name].dtype)], 1)
        prompt, following = prompt_positions(policy.backbone, encoded)
        own = following[owners, None] + torch.arange(tokens.shape[1], device=tokens.device)
        places = [torch.cat([axis[owners], own.to(axis.dtype)], 1) for axis in prompt]
        inputs["position_ids"] = torch.stack(places).squeeze(0)
        states: Float[Tensor, "N S D"] = policy.backbone.base_model(**inputs, use_cache=False).last_hidden_state
        return states[:, encoded.length - 1 : -1]
