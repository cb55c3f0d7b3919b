"""Packed rows without attention scores between different completions.

A mask over a packed row of S = L + G * T slots costs S * S products, of which those between different completions are
discarded: at G = 8 more than half. Here the prompt attends to itself, and every completion, in a row of its own, to
the prompt and itself: L * L + G * T * (L + T) products, through the same fused kernel on every device. All other layers
run on the packed row, which holds each token once.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface

from vlcal.errors import UserError
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.packing import Packed, Packing, additive_mask

IMPLEMENTATION = "vlcal_grouped"  # the name of `attend` in the registry of transformers
SDPA = AttentionInterface()["sdpa"]
UNGROUPED = nn.Identity()  # a layer, as SDPA sees it, with as many heads of keys as of queries


class Grouped(Packed):
    """Every group in one row, its prompt once, and attention per group. For models with `sdpa` attention.

    Args:
        model: Its language model uses `attend` from now on: per group in packed rows, SDPA elsewhere.

    Raises:
        UserError: If the model has another attention.
    """

    def __init__(self, model: HeadlessModel) -> None:
        config = model.config
        if config._attn_implementation not in ("sdpa", IMPLEMENTATION):
            raise UserError(f"`attention` must be sdpa to go group by group; got {config._attn_implementation}.")
        config._attn_implementation = IMPLEMENTATION
        self._query_heads = config.num_attention_heads // config.num_key_value_heads  # of each head of keys

    def folded(self, mask: Float[Tensor, "P 1 q k"]) -> Float[Tensor, "P 1 rows k"]:
        """The mask once for each query head of a head of keys, which all are rows of one product."""
        return mask.repeat(1, 1, self._query_heads, 1)

    def attention(self, packing: Packing, dtype: torch.dtype) -> dict[str, Any]:
        """The packing, for `attend`, and the mask of each completion over its prompt and itself."""
        lengths = packing.counts.sum(1)
        # Prompts of one length share one mask.
        prompt_index = packing.prompt_index if (lengths != lengths[0]).any() else packing.prompt_index[:1]
        steps = packing.mask.shape[1]
        prompt = torch.arange(packing.longest, device=lengths.device) < lengths[prompt_index, None]
        itself = torch.ones(steps, steps, dtype=torch.bool, device=lengths.device).tril()
        allowed = torch.cat([prompt[:, None].expand(-1, steps, -1), itself.expand(len(prompt), -1, -1)], -1)
        return {"attention_mask": self.folded(additive_mask(allowed, dtype)), "packing": packing}


def attend(
    module: nn.Module,
    query: Float[Tensor, "P h q d"],
    key: Float[Tensor, "P k s d"],
    value: Float[Tensor, "P k s d"],
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **settings: Any,
) -> tuple[Float[Tensor, "P q h d"], None]:
    """Attention per group, in the signature of transformers; SDPA where no packing is given.

    Args:
        module: The layer.
        query: Of all slots.
        key: Of all slots.
        value: Of all slots.
        attention_mask: With a packing, of each completion over its prompt and itself; else over all keys. Of
            completions it is `Grouped.folded`.
        packing: The slots of prompts and completions.
        **settings: Scale, dropout and the like.
    """
    if packing is None:
        folded = attention_mask is not None and attention_mask.shape[2] != query.shape[2]
        if folded:
            return _attend_folded(query, key, value, attention_mask, **settings)
        return SDPA(module, query, key, value, attention_mask, **settings)
    longest = packing.longest
    prompt = [part[:, :, :longest] for part in (query, key, value)]  # slots behind a shorter prompt are replaced below
    own = [part.transpose(1, 2).flatten(0, 1)[packing.slots].transpose(1, 2) for part in (query, key, value)]
    of_prompts, _ = SDPA(module, *prompt, None, **settings)
    both = [
        torch.cat([shared[packing.prompt_index], after], 2) for shared, after in zip(prompt[1:], own[1:], strict=True)
    ]
    of_completions, _ = _attend_folded(own[0], both[0], both[1], attention_mask, **settings)
    rows = pad(of_prompts, (0, 0, 0, 0, 0, query.shape[2] - longest))
    written = of_completions.flatten(0, 1)[packing.completion_at]
    return rows.flatten(0, 1).index_put((packing.completion,), written).view(rows.shape), None


def _attend_folded(
    query: Float[Tensor, "P h q d"],
    key: Float[Tensor, "P k s d"],
    value: Float[Tensor, "P k s d"],
    attention_mask: Float[Tensor, "... rows s"] | None,
    **settings: Any,
) -> tuple[Float[Tensor, "P q h d"], None]:
    """SDPA with the query heads of one head of keys as rows of one product, so that no key is copied for each."""
    heads, width = key.shape[1], query.shape[2]
    batch, _, _, size = query.shape
    rows = query.reshape(batch, heads, -1, size)
    mixed, _ = SDPA(UNGROUPED, rows, key, value, attention_mask, **settings)
    return mixed.unflatten(1, (-1, width)).permute(0, 2, 3, 1, 4).flatten(2, 3), None


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, AttentionMaskInterface()["sdpa"])
