"""How long prompts are, by the processor that makes them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from transformers import AutoProcessor, ProcessorMixin

from vlcal.policy.encode import processed
from vlcal.policy.spec import PolicySpec
from vlcal.text import Grammar
from vlcal.types import PromptBatch

CELL = 28  # pixels; sizes are told apart this finely while the longest prompts are looked for
FINE = 1.02  # the bound on pixels that fits is found to 2 %

Scale = Callable[[int, int, int], tuple[int, int]]  # pixels at most, width, height: width and height that fit


@dataclass(frozen=True)
class PromptLength:
    """What the processor makes of one prompt.

    Args:
        name: Of the prompt.
        tokens: In all.
        image_tokens: Of these, those that stand for images.
        pixel_values: Numbers that go to the vision tower.
    """

    name: str
    tokens: int
    image_tokens: int
    pixel_values: int


def load_processor(spec: PolicySpec) -> ProcessorMixin:
    """The processor alone, without the model.

    Raises:
        ValueError: If there is none.
    """
    try:
        return AutoProcessor.from_pretrained(
            spec.path, trust_remote_code=False, revision=spec.revision, local_files_only=spec.local_files_only
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"`path` must hold the processor of a vision-language model; {spec.path!r} does not: {error}. Check the "
            "folder, or the name on the hub and whether it can be reached."
        ) from error


class PromptRuler:
    """Measures prompts, and finds the longest of many without passing each of them through the processor.

    Args:
        processor: Of the checkpoint.
        image_token: The token that stands for a part of an image.
        grammar: What is added to every question.
    """

    def __init__(self, processor: ProcessorMixin, image_token: int, grammar: Grammar) -> None:
        self.processor = processor
        self.image_token = image_token
        self.grammar = grammar
        self._costs: dict[tuple[int, int], int] = {}

    def longest(self, batches: Iterator[PromptBatch], count: int) -> list[PromptBatch]:
        """The longest prompts, one to a batch, in falling order of what they seem to be."""
        kept: list[tuple[int, int, PromptBatch]] = []
        for number, prompt in enumerate(batch.select([row]) for batch in batches for row in range(len(batch))):
            entry = (self._guess(prompt), number, prompt)
            if len(kept) < count:
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
        return [prompt for _, _, prompt in sorted(kept, key=lambda entry: entry[0], reverse=True)]

    def length(self, prompt: PromptBatch, images: Sequence[Tensor] | None = None) -> PromptLength:
        """The length of one prompt, with other images where some are given."""
        (own,) = prompt.images
        inputs = processed(
            self.processor, [self.grammar.prompt(prompt.questions[0])], [own if images is None else images]
        )
        return PromptLength(
            name=prompt.ids[0],
            tokens=int(inputs["attention_mask"].sum()),
            image_tokens=int((inputs["input_ids"] == self.image_token).sum()),
            pixel_values=inputs["pixel_values"].numel() if "pixel_values" in inputs else 0,
        )

    def fitting_pixels(self, prompt: PromptBatch, tokens: int, scale: Scale) -> int | None:
        """The largest bound on the pixels of an image under which a prompt has so many tokens; None if none has."""
        (images,) = prompt.images
        low, high = 1, max((image[0].numel() for image in images), default=0)

        def fits(pixels: int) -> bool:
            sizes = (scale(pixels, image.shape[-1], image.shape[-2]) for image in images)
            return self.length(prompt, [torch.zeros(3, down, across) for across, down in sizes]).tokens <= tokens

        low = CELL * CELL
        if not images or not fits(low):
            return None
        while high > FINE * low:
            middle = ceil((low + high) / 2)
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def _guess(self, prompt: PromptBatch) -> int:
        text = self.processor.tokenizer.encode(self.grammar.prompt(prompt.questions[0]), add_special_tokens=False)
        return len(text) + sum(self._cost(*image.shape[-2:]) for image in prompt.images[0])

    def _cost(self, height: int, width: int) -> int:
        """Tokens of an image of about this size."""
        size = (ceil(height / CELL), ceil(width / CELL))
        if size not in self._costs:
            inputs = processed(self.processor, [""], [[torch.zeros(3, CELL * size[0], CELL * size[1])]])
            self._costs[size] = inputs["input_ids"].shape[1]
        return self._costs[size]
