"""How prompts and completions lie in the rows that pass through the model.

`Plain` gives every completion a row with its own copy of the prompt. `Packed` lays a whole group out once, as
`[prompt | completion 1 | ... | completion G]`: every completion continues the positions of the prompt and sees the
prompt and itself alone, so the numbers are those of the plain layout, at L + G * T tokens in place of G * (L + T).
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from vlcal.policy.encode import EncodedPrompts

if TYPE_CHECKING:
    from vlcal.policy.policy import Policy

PROMPT, NOTHING = 0, -1  # segments of a packed row; the completion at place g of its group is segment g + 1


class Layout(ABC):
    """Lays prompts and their completions out in rows."""

    @abstractmethod
    def hidden(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        owners: Int[Tensor, " N"],
    ) -> Float[Tensor, "N T D"]:
        """The hidden states that predict each completion token; completion `n` continues prompt `owners[n]`."""

    @abstractmethod
    def share(self, prompt: int, completions: Sequence[int], budget: int) -> list[list[int]]:
        """Which completions of one prompt lie in a row together.

        Args:
            prompt: Tokens of the prompt.
            completions: Tokens of each completion.
            budget: Tokens a row should hold at most; one completion alone may still exceed it.
        """


class Plain(Layout):
    """Every completion in a row of its own, behind its own copy of the prompt: what any model takes."""

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
        inputs |= self.positions(policy, encoded, owners, tokens.shape[1])
        states = policy.backbone.base_model(**inputs, use_cache=False).last_hidden_state
        return states[:, encoded.length - 1 : -1]

    def positions(
        self, policy: Policy, encoded: EncodedPrompts, owners: Int[Tensor, " N"], steps: int
    ) -> dict[str, Tensor]:
        """The places of all tokens, by the name the model takes them under; empty where the model counts itself."""
        return {}

    def share(self, prompt: int, completions: Sequence[int], budget: int) -> list[list[int]]:
        return [[place] for place in range(len(completions))]


class Packed(Layout):
    """Every group in one row, its prompt once."""

    def hidden(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        owners: Int[Tensor, " N"],
    ) -> Float[Tensor, "N T D"]:
        packing = Packing.of(encoded, mask, owners)
        inputs = encoded.model_inputs()
        for name, values in encoded.rows.items():
            behind, fill = (tokens, policy.filler) if name == "input_ids" else (torch.zeros_like(tokens), 0)
            inputs[name] = packing.laid_out(values, behind, fill)
        prompt, following = prompt_positions(policy.backbone, encoded)
        continued = following[owners, None] + torch.arange(tokens.shape[1], device=tokens.device)
        inputs["position_ids"] = torch.stack([packing.laid_out(axis, continued, 0) for axis in prompt]).squeeze(0)
        inputs |= self.attention(packing, policy.dtype)
        states = policy.backbone.base_model(**inputs, use_cache=False).last_hidden_state
        return states.flatten(0, 1)[packing.predictors]

    def attention(self, packing: Packing, dtype: torch.dtype) -> dict[str, Any]:
        """What tells the model which slots see which: one mask over the row."""
        return {"attention_mask": additive(sees(packing.segments, packing.segments).tril(), dtype)}

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
    """Where everything lies in the packed rows, one row per prompt, `S` slots each.

    Args:
        prompt: Slot of each prompt token in the flattened rows, prompt by prompt.
        counts: True on the prompt tokens that are no padding.
        completion: Slot of each completion token that counts, completion by completion.
        slots: Slot of each completion token; 0 outside the mask.
        owners: The prompt that each completion continues.
        mask: True on the completion tokens that count.
        predictors: Slot of the state that predicts each completion token; 0 outside the mask.
        segments: What each slot holds: PROMPT, a completion by its place in the group plus one, or NOTHING.
    """

    prompt: Int[Tensor, " p"]
    counts: Bool[Tensor, "P L"]
    completion: Int[Tensor, " c"]
    slots: Int[Tensor, "N T"]
    owners: Int[Tensor, " N"]
    mask: Bool[Tensor, "N T"]
    predictors: Int[Tensor, "N T"]
    segments: Int[Tensor, "P S"]

    @classmethod
    def of(cls, encoded: EncodedPrompts, mask: Bool[Tensor, "N T"], owners: Int[Tensor, " N"]) -> Packing:
        """The packing of completions, given which prompt each continues; those of one prompt lie side by side."""
        counts = encoded.rows["attention_mask"].bool()
        prompt_lengths, lengths = counts.sum(1), mask.sum(1)
        ahead = lengths.cumsum(0) - lengths  # tokens of all completions before this one
        first = torch.searchsorted(owners, owners)  # the first completion of the same group
        starts = prompt_lengths[owners] + ahead - ahead[first]
        width = int(torch.cat([starts + lengths, prompt_lengths]).max())
        steps = torch.arange(mask.shape[1], device=mask.device)
        slots = (owners * width + starts)[:, None] + steps
        ends = (owners * width + prompt_lengths[owners] - 1)[:, None]
        rows = torch.arange(len(counts), device=mask.device)[:, None]
        prompt = (rows * width + counts.cumsum(1) - 1)[counts]
        places = (torch.arange(len(owners), device=mask.device) - first + 1)[:, None].expand_as(mask)
        segments = torch.full((len(counts) * width,), NOTHING, device=mask.device)
        segments[prompt] = PROMPT
        segments[slots[mask]] = places[mask]
        return cls(
            prompt=prompt,
            counts=counts,
            completion=slots[mask],
            slots=slots.masked_fill(~mask, 0),
            owners=owners,
            mask=mask,
            predictors=torch.where(steps == 0, ends, slots - 1).masked_fill(~mask, 0),
            segments=segments.view(len(counts), width),
        )

    def laid_out(self, prompt: Int[Tensor, "P L"], completion: Int[Tensor, "N T"], fill: int) -> Int[Tensor, "P S"]:
        """Values of prompt and completion tokens at their slots."""
        flat = torch.full_like(self.segments, fill, dtype=prompt.dtype).flatten()
        flat[self.prompt] = prompt[self.counts]
        flat[self.completion] = completion[self.mask].to(prompt.dtype)
        return flat.view(self.segments.shape)


def prompt_positions(
    backbone: PreTrainedModel, encoded: EncodedPrompts
) -> tuple[Int[Tensor, "axes P L"], Int[Tensor, " P"]]:
    """The position of each prompt token, along one axis or along the model's own, and the one that follows a prompt."""
    counts = encoded.rows["attention_mask"]
    find = getattr(backbone.base_model, "get_rope_index", None)
    if find is None:
        positions = (counts.cumsum(1) - 1).clamp(min=0)[None]
    else:
        known = {**encoded.rows, **encoded.grids}
        asked = {name: known[name] for name in inspect.signature(find).parameters if name in known}
        positions = find(**asked)[0]
    return positions, positions.masked_fill(~counts.bool(), -1).amax((0, 2)) + 1


def sees(queries: Int[Tensor, "P q"], keys: Int[Tensor, "P k"]) -> Bool[Tensor, "P q k"]:
    """Which slots may be looked at from which, by what they hold, the order of time aside: the prompt and one's own."""
    return (keys[:, None] == PROMPT) | (keys[:, None] == queries[:, :, None])


def additive(allowed: Bool[Tensor, "P q k"], dtype: torch.dtype) -> Float[Tensor, "P 1 q k"]:
    """A mask to add to attention scores, which every attention implementation that takes a mask understands."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)[
        :, None
    ]
