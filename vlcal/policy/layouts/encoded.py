"""Prompts as the model takes them, with the features of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._pytree import tree_map_only
from transformers.utils import ModelOutput

Question = tuple[str, tuple[Tensor, ...]]  # what is asked, instructions included, and the images, each (3, H, W)


@dataclass(frozen=True)
class EncodedPrompts:
    """A batch of prompts, padded on the left, with the features of their images.

    The features serve every pass over these prompts: sampling, scoring, reference and update.

    Args:
        rows: Tensors with one row per prompt: `input_ids`, `attention_mask` and what else the model takes, (P, L).
        grids: Tensors with one row per image that the model takes beside the features, such as `image_grid_thw`.
        features: Output of the vision tower for all images, prompt by prompt; None where no prompt has an image.
        image_counts: Images of each prompt.
        block_counts: Blocks of features of each prompt: an image, a tile of one, or all images of the prompt.
        questions: Text and images of each prompt, for an engine in another process; none where nothing samples.
    """

    rows: Mapping[str, Int[Tensor, "P L"]]
    grids: Mapping[str, Tensor]
    features: ModelOutput | None
    image_counts: tuple[int, ...]
    block_counts: tuple[int, ...]
    questions: tuple[Question, ...] = ()

    def __len__(self) -> int:
        return len(self.image_counts)

    @property
    def length(self) -> int:
        """Tokens of the longest prompt, `L`."""
        return self.rows["input_ids"].shape[1]

    def select(self, prompts: Sequence[int]) -> EncodedPrompts:
        """The prompts with these indices, in this order; an index may repeat."""
        images, blocks = (_members(counts, prompts) for counts in (self.image_counts, self.block_counts))
        index = torch.tensor(list(prompts), device=self.rows["input_ids"].device)
        chosen = torch.tensor(images, dtype=torch.long, device=index.device)
        return replace(
            self,
            rows={name: tensor[index] for name, tensor in self.rows.items()},
            grids={name: tensor[chosen] for name, tensor in self.grids.items()} if images else {},
            features=None if self.features is None or not blocks else select_blocks(self.features, blocks),
            image_counts=tuple(self.image_counts[row] for row in prompts),
            block_counts=tuple(self.block_counts[row] for row in prompts),
            questions=tuple(self.questions[row] for row in prompts) if self.questions else (),
        )

    def to(self, device: torch.device | str) -> EncodedPrompts:
        """The same prompts with every tensor on `device`."""
        kept = {"rows": self.rows, "grids": self.grids, "features": self.features}
        return replace(self, **tree_map_only(Tensor, lambda tensor: tensor.to(device), kept))

    def model_inputs(self) -> dict[str, Any]:
        """Keyword arguments for the model or for `generate`, which changes the feature object: it gets a copy."""
        features = {} if self.features is None else {"mm_encoder_outputs": {"image": _copied(self.features)}}
        return {**self.rows, **self.grids, **features}


def select_blocks(features: ModelOutput, blocks: Sequence[int]) -> ModelOutput:
    """Some blocks of the features. Every field holds one entry per block, or one list of them per layer."""
    count = len(features.pooler_output)

    def take(value: Any) -> Any:
        if isinstance(value, (tuple, list)) and len(value) == count and isinstance(value[0], Tensor):
            return type(value)(value[block] for block in blocks)
        if isinstance(value, (tuple, list)):
            return type(value)(take(item) for item in value)
        return value[torch.tensor(blocks, dtype=torch.long, device=value.device)]

    return type(features)(**{name: take(value) for name, value in features.items()})


def _members(counts: Sequence[int], prompts: Sequence[int]) -> list[int]:
    """Indices of the images (or blocks) of some prompts, where images lie prompt by prompt."""
    starts = [0, *accumulate(counts)]
    return [member for row in prompts for member in range(starts[row], starts[row + 1])]


def _copied(features: ModelOutput) -> ModelOutput:
    return type(features)(**dict(features.items()))
