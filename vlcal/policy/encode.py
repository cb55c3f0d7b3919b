"""Prompts as the model takes them, every image encoded once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin
from transformers.utils import ModelOutput

from vlcal.text import Grammar
from vlcal.types import PromptBatch

# The fields of what the vision tower gives that the language model reads; the others are large and serve nothing.
FEATURES = ("pooler_output", "deepstack_features")
BARELY = 1e-6  # beside 0 in every dtype, and beside nothing a vision tower could tell from it


@dataclass(frozen=True)
class EncodedPrompts:
    """A batch of prompts, padded on the left, with the features of their images.

    The features serve every pass about these prompts: sampling, scoring, reference and update.

    Args:
        rows: Tensors with one row per prompt: `input_ids`, `attention_mask` and what else the model takes, (P, L).
        grids: Tensors with one row per image that the model takes beside the features, such as `image_grid_thw`.
        features: What the vision tower made of all images, prompt by prompt; None where no prompt has an image.
        image_counts: Images of each prompt.
        block_counts: Blocks of features of each prompt: an image, a tile of one, or all that the prompt shows.
    """

    rows: Mapping[str, Int[Tensor, "P L"]]
    grids: Mapping[str, Tensor]
    features: ModelOutput | None
    image_counts: tuple[int, ...]
    block_counts: tuple[int, ...]

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
            features=None if self.features is None or not blocks else _take_blocks(self.features, blocks),
            image_counts=tuple(self.image_counts[row] for row in prompts),
            block_counts=tuple(self.block_counts[row] for row in prompts),
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
    return processed(processor, [grammar.prompt(question) for question in prompts.questions], prompts.images)


def processed(
    processor: ProcessorMixin, questions: Sequence[str], images: Sequence[Sequence[Tensor]], **settings: Any
) -> dict[str, Tensor]:
    """What the processor makes of questions in the words of the chat template, each behind its images.

    Args:
        processor: Of the checkpoint.
        questions: One per prompt, instructions included.
        images: Of each prompt, in [0, 1].
        settings: Of the image processor, in place of its own.
    """
    messages = [
        [{"role": "user", "content": [*({"type": "image"} for _ in shown), {"type": "text", "text": question}]}]
        for shown, question in zip(images, questions, strict=True)
    ]
    texts = [processor.apply_chat_template(message, add_generation_prompt=True) for message in messages]
    start = processor.tokenizer.bos_token
    # Eight-bit levels, though in float: what a processor paints beside a picture, such as the bars of LLaVA-OneVision,
    # is in these units whatever it was told about those of the picture.
    levels = [[255 * image for image in shown] for shown in images]
    inputs = processor(
        text=texts,
        images=levels if any(levels) else None,
        add_special_tokens=start is None or not texts[0].startswith(start),  # the template may have written it
        padding=True,
        padding_side="left",
        do_rescale=True,
        return_tensors="pt",
        **settings,
    )
    return dict(inputs)


def encoded_prompts(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], image_counts: tuple[int, ...]
) -> EncodedPrompts:
    """The prompts with the features of their images, for which the vision tower runs once.

    What the processor made is sorted by what the model's own functions ask for: tensors shaped like the tokens are
    rows; those that `get_image_features` takes go there; of these, tables with a line per image stay beside the rows.
    """
    taken, asked = (inspect.signature(ask).parameters for ask in (model.forward, model.get_image_features))
    shape = inputs["input_ids"].shape
    pixels = {name: value for name, value in inputs.items() if name in asked}
    rows = {name: value for name, value in inputs.items() if name in taken and value.shape == shape}
    grids = {name: value for name, value in pixels.items() if name in taken and _table(value, sum(image_counts))}
    if not any(image_counts):
        return EncodedPrompts(rows, {}, None, image_counts, (0,) * len(image_counts))
    found = model.get_image_features(**_marked_as_pictures(pixels), return_dict=True)
    features = type(found)(**{name: found[name] for name in FEATURES if name in found})
    features = _take_blocks(features, [place for place, size in enumerate(_sizes(features)) if size])
    image_tokens = (inputs["input_ids"] == model.config.image_token_id).sum(1).tolist()
    return EncodedPrompts(rows, grids, features, image_counts, _blocks_per_prompt(_sizes(features), image_tokens))


def placeholder_tokens(model: PreTrainedModel, processor: ProcessorMixin) -> list[int]:
    """Tokens that stand for pictures, videos and sounds, or for where one starts and ends."""
    ids = {getattr(owner, name, None) for owner in (model.config, processor) for name in PLACEHOLDER_IDS}
    ids |= {token for name in PLACEHOLDER_LISTS for token in getattr(processor, name, [])}
    tokenizer = processor.tokenizer
    marks = (getattr(processor, name, None) for name in PLACEHOLDER_MARKS)
    ids |= {tokenizer.convert_tokens_to_ids(mark) for mark in marks if mark is not None} - {tokenizer.unk_token_id}
    return sorted(token for token in ids if token is not None)


PLACEHOLDER_IDS = (
    "image_token_id",
    "video_token_id",
    "audio_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
    "boi_token_id",
    "eoi_token_id",
)
PLACEHOLDER_LISTS = ("image_token_ids", "video_token_ids", "audio_token_ids")
PLACEHOLDER_MARKS = ("image_token", "video_token", "audio_token", "fake_image_token", "global_image_token")


def _table(value: Tensor, lines: int) -> bool:
    return value.ndim == 2 and len(value) == lines and not value.is_floating_point()


def _marked_as_pictures(pixels: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The pixels, with no picture that could be taken for padding.

    A vision tower of the Idefics kind, SmolVLM's too, is given a mask of pixels, yet takes a tile for padding where all
    its values are 0, and these are what a plain grey tile is normalised to.
    """
    if "pixel_attention_mask" not in pixels:
        return pixels
    values, counts = pixels["pixel_values"], pixels["pixel_attention_mask"].bool()
    return {**pixels, "pixel_values": values.masked_fill((values == 0) & counts.unsqueeze(-3), BARELY)}


def _sizes(features: ModelOutput) -> list[int]:
    """Image tokens of each block."""
    return [len(block) if block.ndim > 1 else 1 for block in features.pooler_output]


def _blocks_per_prompt(sizes: Sequence[int], image_tokens: Sequence[int]) -> tuple[int, ...]:
    """How many blocks belong to each prompt, by the image tokens that it holds."""
    ends = {end: place for place, end in enumerate(accumulate(sizes, initial=0))}
    bounds = list(accumulate(image_tokens, initial=0))
    if bounds[-1] not in ends or not set(bounds) <= set(ends) or bounds[-1] != max(ends):
        raise ValueError(
            f"`processor` must write as many image tokens as the vision tower makes features, prompt by prompt; it "
            f"wrote {list(image_tokens)} for blocks of {list(sizes)}. Check that processor and weights belong together."
        )
    return tuple(ends[end] - ends[start] for start, end in pairwise(bounds))


def _members(counts: Sequence[int], prompts: Sequence[int]) -> list[int]:
    """Of images or blocks that lie prompt by prompt, the indices of those of some prompts."""
    starts = [0, *accumulate(counts)]
    return [member for row in prompts for member in range(starts[row], starts[row + 1])]


def _take_blocks(features: ModelOutput, blocks: Sequence[int]) -> ModelOutput:
    """Some blocks of the features. Every field holds one entry per block, or one list of them per layer."""
    count = len(features.pooler_output)

    def take(value: Any) -> Any:
        if isinstance(value, (tuple, list)) and len(value) == count and isinstance(value[0], Tensor):
            return type(value)(value[block] for block in blocks)
        if isinstance(value, (tuple, list)):
            return type(value)(take(item) for item in value)
        return value[torch.tensor(blocks, dtype=torch.long, device=value.device)]

    return type(features)(**{name: take(value) for name, value in features.items()})


def _copied(features: ModelOutput) -> ModelOutput:
    return type(features)(**dict(features.items()))
