"""Prompts as the model takes them, every image encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import ProcessorMixin
from transformers.utils import ModelOutput

from vlcal.text import Grammar
from vlcal.types import PromptBatch


@dataclass(frozen=True)
class EncodedPrompts:
    """A batch of prompts, padded on the left, with the features of their images.

    The features serve every pass about these prompts: sampling, scoring, reference and update.

    Args:
        rows: Tensors with one row per prompt: `input_ids`, `attention_mask` and what else the model takes, (P, L).
        grids: Tensors with one row per image, such as `image_grid_thw`.
        features: What the vision tower made of all images, prompt by prompt; None where no prompt has an image.
        image_counts: Images of each prompt.
    """

    rows: Mapping[str, Int[Tensor, "P L"]]
    grids: Mapping[str, Tensor]
    features: ModelOutput | None
    image_counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.image_counts)

    @property
    def length(self) -> int:
        """Tokens of the longest prompt, `L`."""
        return self.rows["input_ids"].shape[1]

    def select(self, prompts: Sequence[int]) -> EncodedPrompts:
        """The prompts with these indices, in this order; an index may repeat."""
        starts = [0, *accumulate(self.image_counts)]
        images = [image for row in prompts for image in range(starts[row], starts[row + 1])]
        index = torch.tensor(list(prompts), device=self.rows["input_ids"].device)
        chosen = torch.tensor(images, dtype=torch.long, device=index.device)
        return replace(
            self,
            rows={name: tensor[index] for name, tensor in self.rows.items()},
            grids={name: tensor[chosen] for name, tensor in self.grids.items()} if images else {},
            features=None if self.features is None or not images else _take_images(self.features, images),
            image_counts=tuple(self.image_counts[row] for row in prompts),
        )

    def repeat(self, times: int) -> EncodedPrompts:
        """Each prompt `times` times in a row, as the completions of a group lie."""
        return self.select([row for row in range(len(self)) for _ in range(times)])

    def model_inputs(self) -> dict[str, Any]:
        """Keyword arguments for the model or for `generate`; the feature object is a copy, since that changes it."""
        features = {} if self.features is None else {"mm_encoder_outputs": {"image": _copied(self.features)}}
        return {**self.rows, **self.grids, **features}


def processor_inputs(processor: ProcessorMixin, prompts: PromptBatch, grammar: Grammar) -> dict[str, Tensor]:
    """What the processor makes of a batch: token rows padded on the left, pixels, grids."""
    messages = [
        [{"role": "user", "content": [*({"type": "image"} for _ in images), {"type": "text", "text": question}]}]
        for images, question in zip(prompts.images, map(grammar.prompt, prompts.questions), strict=True)
    ]
    texts = [processor.apply_chat_template(message, add_generation_prompt=True) for message in messages]
    images = [list(images) for images in prompts.images]
    return dict(
        processor(
            text=texts,
            images=images if any(images) else None,
            padding=True,
            padding_side="left",
            do_rescale=False,  # images are in [0, 1] already
            return_tensors="pt",
        )
    )


def _take_images(features: ModelOutput, images: Sequence[int]) -> ModelOutput:
    """The features of some images. Every field holds one entry per image, or one list of them per layer."""
    count = len(features.pooler_output)

    def take(value: Any) -> Any:
        if isinstance(value, (tuple, list)) and len(value) == count and isinstance(value[0], Tensor):
            return type(value)(value[image] for image in images)
        if isinstance(value, (tuple, list)):
            return type(value)(take(item) for item in value)
        return value[torch.tensor(images, device=value.device)]

    return type(features)(**{name: take(value) for name, value in features.items()})


def _copied(features: ModelOutput) -> ModelOutput:
    return type(features)(**dict(features.items()))
