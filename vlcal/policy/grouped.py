"""Packed rows whose completions are not multiplied with each other only to be masked.

A mask over a packed row of S = L + G * T slots costs S * S products, of which those between different completions are
thrown away: at G = 8 more than half of them. Here the prompt attends to itself, and every completion, in a row of its
own, to the prompt and itself: L * L + G * T * (L + T) products, through the same fused kernel on every device. All
other layers see the packed row, where each token lies once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface

from vlcal.policy.packing import Packed, Packing, additive

if TYPE_CHECKING:
    from vlcal.policy.policy import Policy

IMPLEMENTATION = "vlcal_grouped"  # by this name transformers finds our attention
SDPA = AttentionInterface()["sdpa"]


class Grouped(Packed):
    """Every group in one row, its prompt once, and attention group by group. For policies with `sdpa` attention.

    Args:
        policy: Whose language model attends so from now on, in packed rows; elsewhere it attends as before.

    Raises:
        ValueError: If the policy has another attention.
    """

    def __init__(self, policy: Policy) -> None:
        config = policy.backbone.config.get_text_config()
        if config._attn_implementation not in ("sdpa", IMPLEMENTATION):
            raise ValueError(f"`attention` must be sdpa to go group by group; got {config._attn_implementation}.")
        config._attn_implementation = IMPLEMENTATION

    def attention(self, packing: Packing, dtype: torch.dtype) -> dict[str, Any]:
        """Where everything lies, for our attention, and the mask of a completion on its prompt and itself."""
        lengths = packing.counts.sum(1)
        owners = packing.owners if (lengths != lengths[0]).any() else packing.owners[:1]  # one mask may fit all
        steps = packing.mask.shape[1]
        prompt = torch.arange(int(lengths.max()), device=lengths.device) < lengths[owners, None]
        itself = torch.ones(steps, steps, dtype=torch.bool, device=lengths.device).tril()
        seen = torch.cat([prompt[:, None].expand(-1, steps, -1), itself.expand(len(prompt), -1, -1)], -1)
        return {"attention_mask": additive(seen, dtype), "packing": packing}


def attend(
    module: nn.Module,
    query: Float[Tensor, "P h S d"],
    key: Float[Tensor, "P k S d"],
    value: Float[Tensor, "P k S d"],
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **settings: Any,
) -> tuple[Float[Tensor, "P S h d"], None]:
    """Attention as transformers calls it, its own where no packing is given.

    Args:
        module: The layer.
        query: Of all slots.
        key: Of all slots.
        value: Of all slots.
        attention_mask: With a packing, what each completion sees of its prompt and of itself; else of all keys.
        packing: Where prompts and completions lie.
        **settings: Scale, dropout and the like.
    """
    if packing is None:
        return SDPA(module, query, key, value, attention_mask, **settings)
    longest = int(packing.counts.sum(1).max())
    prompt = [part[:, :, :longest] for part in (query, key, value)]  # behind a shorter one lies what is replaced below
    own = [part.transpose(1, 2).flatten(0, 1)[packing.slots].transpose(1, 2) for part in (query, key, value)]
    ahead, _ = SDPA(module, *prompt, None, **settings)
    seen = [torch.cat([shared[packing.owners], after], 2) for shared, after in zip(prompt[1:], own[1:], strict=True)]
    behind, _ = SDPA(module, own[0], *seen, attention_mask, **settings)
    rows = pad(ahead, (0, 0, 0, 0, 0, query.shape[2] - longest))
    return rows.flatten(0, 1).index_put((packing.completion,), behind[packing.mask]).view(rows.shape), None


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, AttentionMaskInterface()["sdpa"])
