"""Keys and values of groups while they are decoded: `[prompt | first tokens | second tokens | ...]` in one row."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 32  # tokens of each completion that a buffer is given room for when it has to grow, which copies it


class GroupCache:
    """The cache that a model filled with prompts, for completions side by side behind each of them.

    A pass adds one token of each completion, or several, step by step: token `s` of completion `g` is slot
    `length + s * width + g`.

    Args:
        cache: What the model returned for the prompts.
        length: Slots of the prompts.
        width: Completions side by side.
    """

    def __init__(self, cache: Cache, length: int, width: int) -> None:
        self.cache = cache
        self.length = length
        self.width = width
        filled = [layer for layer in cache.layers if layer.is_initialized]
        cache.layers = [GroupLayer(layer.keys, layer.values, ROOM * width) for layer in filled]

    def keep(self, prompts: Int[Tensor, " p"], places: Int[Tensor, "p q"]) -> None:
        """Drop all but some prompts, and of each all but the completions at some places, from now on in this order."""
        for layer in self.cache.layers:
            layer.keep(prompts, places, self.length, self.width)
        self.width = places.shape[1]


class GroupLayer(DynamicLayer):
    """Keys and values of one layer in buffers with room for further tokens, so that none is copied at every token.

    Args:
        keys: Of the prompts.
        values: Of the prompts.
        room: Slots that a buffer has room for when it has to grow.
    """

    def __init__(self, keys: Float[Tensor, "p k l d"], values: Float[Tensor, "p k l d"], room: int) -> None:
        super().__init__()
        self.is_initialized = True
        self.keys = keys
        self.values = values
        self.filled = keys.shape[2]
        self.room = room

    def update(
        self, key_states: Float[Tensor, "p k q d"], value_states: Float[Tensor, "p k q d"], *_: Any, **__: Any
    ) -> tuple[Float[Tensor, "p k s d"], Float[Tensor, "p k s d"]]:
        """All keys and values, those of the newest tokens among them."""
        start, self.filled = self.filled, self.filled + key_states.shape[2]
        if self.filled > self.keys.shape[2]:
            room = key_states.shape[2] + self.room
            self.keys, self.values = (_with_room(part[:, :, :start], room) for part in (self.keys, self.values))
        self.keys[:, :, start : self.filled] = key_states
        self.values[:, :, start : self.filled] = value_states
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]

    def get_seq_length(self) -> int:
        """Slots that are filled."""
        return self.filled

    def keep(self, prompts: Int[Tensor, " p"], places: Int[Tensor, "p q"], length: int, width: int) -> None:
        """Drop what `GroupCache.keep` says, from behind `length` slots of prompts, in steps of `width` slots."""
        steps = (self.filled - length) // width
        steps_of = torch.arange(steps, device=places.device)[:, None] * width
        own = (length + steps_of + places[:, None]).flatten(1)  # slots of what is kept, step by step
        shared = torch.arange(length, device=places.device).expand(len(places), -1)
        slots = torch.cat([shared, own], 1)[:, None, :, None].expand(-1, self.keys.shape[1], -1, self.keys.shape[3])
        self.filled = slots.shape[2]
        self.room = ROOM * places.shape[1]
        self.keys, self.values = (
            _with_room(part[prompts].gather(2, slots), self.room) for part in (self.keys, self.values)
        )


def _with_room(kept: Float[Tensor, "p k s d"], room: int) -> Float[Tensor, "p k r d"]:
    """The same slots at the start of a buffer with room for more."""
    buffer = kept.new_empty(*kept.shape[:2], kept.shape[2] + room, kept.shape[3])
    buffer[:, :, : kept.shape[2]] = kept
    return buffer
