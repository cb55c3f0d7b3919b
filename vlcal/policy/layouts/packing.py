"""A whole group in one row, its prompt once: `[prompt | completion 1 | ... | completion G]`.

Every completion continues the positions of the prompt and attends to the prompt and to itself alone, so the numbers are
those of the plain layout, at L + G * T tokens in place of G * (L + T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.policy.layouts.continuations import Continuations
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.layout import Layout

PROMPT, EMPTY = 0, -1  # segments of a packed row; completion g of its group is segment g + 1


class Packed(Layout):
    """Every group in one row, its prompt once."""

    def hidden(self, model: HeadlessModel, continuations: Continuations) -> Float[Tensor, "N T D"]:
        encoded, tokens = continuations.encoded, continuations.tokens
        packing = Packing.of(continuations)
        inputs = encoded.model_inputs()
        for name, values in encoded.rows.items():
            appended, fill = (tokens, model.pad_token_id) if name == "input_ids" else (torch.zeros_like(tokens), 0)
            inputs[name] = packing.laid_out(values, appended, fill)
        positions, following = model.positions(encoded)
        continued = following[packing.prompt_index, None] + torch.arange(tokens.shape[1], device=tokens.device)
        inputs["position_ids"] = torch.stack([packing.laid_out(axis, continued, 0) for axis in positions]).squeeze(0)
        inputs |= self.attention(packing, model.dtype)
        states: Tensor = model(**inputs, use_cache=False).last_hidden_state
        return states.flatten(0, 1)[packing.predictors]

    def attention(self, packing: Packing, dtype: torch.dtype) -> dict[str, Any]:
        """The arguments that say which slots attend to which: one mask over the row."""
        return {"attention_mask": additive_mask(attends(packing.segments, packing.segments).tril(), dtype)}

    def folded(self, mask: Float[Tensor, "P 1 q k"]) -> Float[Tensor, "P 1 rows k"]:
        """The mask for queries as the attention of the model takes them."""
        return mask

    def share(self, prompt: int, completions: Sequence[int], budget: int) -> list[list[int]]:
        rows: list[list[int]] = []
        room = 0
        for place, length in enumerate(completions):
            if not rows or length > room:
                rows.append([])
                room = budget - prompt
            rows[-1].append(place)
            room -= length
        return rows


@dataclass(frozen=True)
class Packing:
    """The slot of every token in packed rows, one row per prompt, `S` slots each.

    Slots are numbered through all rows, as in a flattened (P, S) tensor.

    Args:
        prompt: Slot of each prompt token, prompt by prompt.
        prompt_at: Index of each of them in a flattened (P, L) tensor.
        counts: True on the prompt tokens that are no padding.
        longest: Tokens of the longest prompt without padding.
        completion: Slot of each completion token inside the mask, completion by completion.
        completion_at: Index of each of them in a flattened (N, T) tensor: a mask as an index would make the host wait
            for the device in every layer, forward and backward.
        slots: Slot of each completion token; 0 outside the mask.
        prompt_index: Index of the prompt that each completion continues.
        mask: True on the tokens of each completion.
        predictors: Slot of the state that predicts each completion token; 0 outside the mask.
        segments: Content of each slot: PROMPT, a completion by its index in the group plus one, or EMPTY.
    """

    prompt: Int[Tensor, " p"]
    prompt_at: Int[Tensor, " p"]
    counts: Bool[Tensor, "P L"]
    longest: int
    completion: Int[Tensor, " c"]
    completion_at: Int[Tensor, " c"]
    slots: Int[Tensor, "N T"]
    prompt_index: Int[Tensor, " N"]
    mask: Bool[Tensor, "N T"]
    predictors: Int[Tensor, "N T"]
    segments: Int[Tensor, "P S"]

    @classmethod
    def of(cls, continuations: Continuations) -> Packing:
        """The packing of completions; those of one prompt lie side by side."""
        counts = continuations.encoded.rows["attention_mask"].bool()
        mask, prompt_index = continuations.mask, continuations.prompt_index
        prompt_lengths, lengths = counts.sum(1), mask.sum(1)
        ahead = lengths.cumsum(0) - lengths  # tokens of all completions before this one
        first = torch.searchsorted(prompt_index, prompt_index)  # the first completion of the same group
        starts = prompt_lengths[prompt_index] + ahead - ahead[first]
        width = int(torch.cat([starts + lengths, prompt_lengths]).max())
        steps = torch.arange(mask.shape[1], device=mask.device)
        slots = (prompt_index * width + starts)[:, None] + steps
        ends = (prompt_index * width + prompt_lengths[prompt_index] - 1)[:, None]
        rows = torch.arange(len(counts), device=mask.device)[:, None]
        prompt_at = counts.flatten().nonzero()[:, 0]
        prompt = (rows * width + counts.cumsum(1) - 1).flatten()[prompt_at]
        places = (torch.arange(len(prompt_index), device=mask.device) - first + 1)[:, None].expand_as(mask)
        completion_at = mask.flatten().nonzero()[:, 0]
        completion = slots.flatten()[completion_at]
        segments = torch.full((len(counts) * width,), EMPTY, device=mask.device)
        segments[prompt] = PROMPT
        segments[completion] = places.flatten()[completion_at]
        return cls(
            prompt=prompt,
            prompt_at=prompt_at,
            counts=counts,
            longest=int(prompt_lengths.max()),
            completion=completion,
            completion_at=completion_at,
            slots=slots.masked_fill(~mask, 0),
            prompt_index=prompt_index,
            mask=mask,
            predictors=torch.where(steps == 0, ends, slots - 1).masked_fill(~mask, 0),
            segments=segments.view(len(counts), width),
        )

    def laid_out(self, prompt: Int[Tensor, "P L"], completion: Int[Tensor, "N T"], fill: int) -> Int[Tensor, "P S"]:
        """Values of prompt and completion tokens at their slots, and `fill` in empty ones."""
        flat = torch.full_like(self.segments, fill, dtype=prompt.dtype).flatten()
        flat[self.prompt] = prompt.flatten()[self.prompt_at]
        flat[self.completion] = completion.flatten()[self.completion_at].to(prompt.dtype)
        return flat.view(self.segments.shape)


def attends(queries: Int[Tensor, "P q"], keys: Int[Tensor, "P k"]) -> Bool[Tensor, "P q k"]:
    """True where a query may attend to a key, by their segments, causality aside: the prompt and its own segment."""
    return (keys[:, None] == PROMPT) | (keys[:, None] == queries[:, :, None])


def additive_mask(allowed: Bool[Tensor, "P q k"], dtype: torch.dtype) -> Float[Tensor, "P 1 q k"]:
    """A mask to add to attention scores, which every attention implementation that takes a mask understands."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]
