"""Parts of a batch that go through the model at once, cut by tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vlcal.policy.encode import EncodedPrompts
from vlcal.policy.packing import Layout

UNLIMITED = 1 << 62  # a budget under which everything goes through the model at once


@dataclass(frozen=True)
class MicroBatch:
    """What goes through the model at once.

    Args:
        rows: The completions, as rows of the batch, in rising order.
        prompts: The prompts they continue, each once, as rows of the batch.
        encoded: These prompts.
        owners: For each completion, its prompt in `encoded`.
    """

    rows: Int[Tensor, " n"]
    prompts: list[int]
    encoded: EncodedPrompts
    owners: Int[Tensor, " n"]


def micro_batches(layout: Layout, encoded: EncodedPrompts, mask: Bool[Tensor, "N T"], budget: int) -> list[MicroBatch]:
    """The completions of a batch, cut so that the rows of each part, padded to the longest, hold `budget` tokens.

    The longest rows come first: little is padded, and memory that does not suffice shows at once. A single completion
    that exceeds the budget goes alone.
    """
    prompts, lengths = encoded.rows["attention_mask"].sum(1).tolist(), mask.sum(1).tolist()
    size = len(lengths) // len(prompts)
    rows: list[tuple[int, list[int]]] = []
    for owner, prompt in enumerate(prompts):
        own = lengths[owner * size : (owner + 1) * size]
        for places in layout.share(prompt, own, budget):
            total = prompt + sum(own[place] for place in places)
            rows.append((total, [owner * size + place for place in places]))
    rows.sort(key=lambda row: row[0], reverse=True)
    batches = []
    while rows:
        fitting = max(1, budget // rows[0][0])
        batches.append(sorted(member for _, members in rows[:fitting] for member in members))
        rows = rows[fitting:]
    return [_part(encoded, members, size) for members in batches]


def _part(encoded: EncodedPrompts, members: list[int], size: int) -> MicroBatch:
    device = encoded.rows["input_ids"].device
    prompts = sorted({member // size for member in members})
    places = {prompt: place for place, prompt in enumerate(prompts)}
    return MicroBatch(
        rows=torch.tensor(members, device=device),
        prompts=prompts,
        encoded=encoded.select(prompts),
        owners=torch.tensor([places[member // size] for member in members], device=device),
    )
