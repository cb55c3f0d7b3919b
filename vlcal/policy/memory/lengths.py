"""The length of prompts in tokens, as the processor makes them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from transformers import ProcessorMixin

from vlcal.policy.encode import processed
from vlcal.policy.plain_text import asked
from vlcal.text import Grammar
from vlcal.types import PromptBatch

CELL = 28  # pixels; image sizes are rounded up to multiples of it in the search for the longest prompts
FINE = 1.02  # the search for a bound on pixels ends at a precision of 2 %

Scale = Callable[[int, int, int], tuple[int, int]]  # pixels at most, width, height: width and height that fit


@dataclass(frozen=True)
class PromptLength:
    """The length of one prompt.

    Args:
        name: Id of the prompt.
        tokens: In total.
        image_tokens: Of these, the image tokens.
        pixel_values: Numbers passed to the vision tower.
    """

    name: str
    tokens: int
    image_tokens: int
    pixel_values: int


class PromptRuler:
    """Measures prompts, and selects the longest of many without a run of the processor for each.

    Args:
        processor: Of the checkpoint.
        image_token: Id of the image token.
        grammar: Adds the instructions to every question.
    """

    def __init__(self, processor: ProcessorMixin, image_token: int, grammar: Grammar) -> None:
        self.processor = processor
        self.image_token = image_token
        self.grammar = grammar
        self._costs: dict[tuple[int, int], int] = {}

    def longest(self, batches: Iterator[PromptBatch], count: int) -> list[PromptBatch]:
        """The longest prompts, one per batch, in descending order of estimated length."""
        kept: list[tuple[int, int, PromptBatch]] = []
        for number, prompt in enumerate(batch.select([row]) for batch in batches for row in range(len(batch))):
            entry = (self._estimate(prompt), number, prompt)
            if len(kept) < count:
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
        return [prompt for _, _, prompt in sorted(kept, key=lambda entry: entry[0], reverse=True)]

    def length(self, prompt: PromptBatch, images: Sequence[Tensor] | None = None) -> PromptLength:
        """The length of one prompt, with `images` in place of its own where given."""
        (own,) = prompt.images
        inputs = processed(
            self.processor, asked(self.processor, prompt, self.grammar), [own if images is None else images]
        )
        return PromptLength(
            name=prompt.ids[0],
            tokens=int(inputs["attention_mask"].sum()),
            image_tokens=int((inputs["input_ids"] == self.image_token).sum()),
            pixel_values=inputs["pixel_values"].numel() if "pixel_values" in inputs else 0,
        )

    def fitting_pixels(self, prompt: PromptBatch, tokens: int, scale: Scale) -> int | None:
        """The largest bound on pixels per image under which a prompt has at most `tokens` tokens; None if none does."""
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

    def _estimate(self, prompt: PromptBatch) -> int:
        text = self.processor.tokenizer.encode(self.grammar.prompt(prompt.questions[0]), add_special_tokens=False)
        return len(text) + sum(self._cost(*image.shape[-2:]) for image in prompt.images[0])

    def _cost(self, height: int, width: int) -> int:
        """Tokens of an image of this size, rounded up to cells."""
        size = (ceil(height / CELL), ceil(width / CELL))
        if size not in self._costs:
            inputs = processed(self.processor, [""], [[torch.zeros(3, CELL * size[0], CELL * size[1])]])
            self._costs[size] = inputs["input_ids"].shape[1]
        return self._costs[size]
