"""From prompts to model inputs: chat template, processor, and one pass of every image through the vision tower."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.utils import ModelOutput

from vlcal.errors import UserError
from vlcal.policy.chat import prompt_text
from vlcal.policy.layouts.encoded import EncodedPrompts, select_blocks
from vlcal.policy.plain_text import asked
from vlcal.text import Grammar
from vlcal.types import PromptBatch

# Of the output of the vision tower, the fields that the language model reads; the others are large and unused.
FEATURES = ("pooler_output", "deepstack_features")
EPSILON = 1e-6  # not 0 in any dtype, and too small to change the features

# Settings of a config or a processor that name a placeholder, by its id or as it is written.
PLACEHOLDER = re.compile(r"(image|video|audio|vision|boi|eoi|boa|eoa)(_\w+)?_token(_id|_index)?$")
TRIAL = torch.full((3, 64, 96), 0.5)  # an image of which most processors make several tiles


def processor_inputs(processor: ProcessorMixin, prompts: PromptBatch, grammar: Grammar) -> dict[str, Tensor]:
    """What the processor makes of a batch: token rows padded on the left, pixels, grids."""
    return processed(processor, asked(processor, prompts, grammar), prompts.images)


def processed(
    processor: ProcessorMixin, questions: Sequence[str], images: Sequence[Sequence[Tensor]], **settings: Any
) -> dict[str, Tensor]:
    """What the processor makes of questions in the chat template, each preceded by its images.

    Args:
        processor: Of the checkpoint.
        questions: One per prompt, instructions included.
        images: Of each prompt, in [0, 1].
        settings: Override the settings of the image processor.
    """
    texts = [prompt_text(processor, question, len(shown)) for shown, question in zip(images, questions, strict=True)]
    start = processor.tokenizer.bos_token
    # Eight-bit levels as float: what a processor paints beside an image, such as the bars of LLaVA-OneVision, is in
    # these units whatever range the image was said to have.
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
    """The prompts with the features of their images, from one pass of the vision tower.

    The signatures of the model's own functions sort what the processor made: tensors shaped like the tokens are rows;
    arguments of `get_image_features` go there; of these, tables with one line per image stay beside the rows.
    """
    taken, asked = (inspect.signature(ask).parameters for ask in (model.forward, model.get_image_features))
    shape = inputs["input_ids"].shape
    pixels = {name: value for name, value in inputs.items() if name in asked}
    rows = {name: value for name, value in inputs.items() if name in taken and value.shape == shape}
    grids = {name: value for name, value in pixels.items() if name in taken and _is_table(value, sum(image_counts))}
    if not any(image_counts):
        return EncodedPrompts(rows, {}, None, image_counts, (0,) * len(image_counts))
    output = model.get_image_features(**_without_zero_tiles(pixels), return_dict=True)
    features = type(output)(**{name: output[name] for name in FEATURES if name in output})
    features = select_blocks(features, [block for block, size in enumerate(_sizes(features)) if size])
    image_tokens = (inputs["input_ids"] == model.config.image_token_id).sum(1).tolist()
    return EncodedPrompts(rows, grids, features, image_counts, _blocks_per_prompt(_sizes(features), image_tokens))


def placeholder_tokens(config: PreTrainedConfig, processor: ProcessorMixin) -> list[int]:
    """Tokens that stand for images, videos and sounds, or mark where one starts and ends.

    Those that config and processor name, and those that the processor writes for an image.
    """
    settings = {**config.to_dict(), **vars(processor)}.items()
    named = [value for name, value in settings if PLACEHOLDER.search(name)]
    vocabulary = processor.tokenizer.get_vocab()
    ids = {vocabulary.get(value, value) for value in named if isinstance(value, int | str)} | _image_marks(processor)
    return sorted(token for token in ids if token in set(vocabulary.values()))


def _image_marks(processor: ProcessorMixin) -> set[int]:
    """Added tokens that the processor writes for an image, and those that differ from one of them in a number alone.

    An image of another size has other marks of its tiles: `<row_1_col_1>`, `<row_4_col_3>`.
    """
    added = {token: re.sub(r"\d+", "0", str(mark)) for token, mark in processor.tokenizer.added_tokens_decoder.items()}
    shown, alone = (set(processed(processor, [""], [images])["input_ids"][0].tolist()) for images in ([TRIAL], []))
    kinds = {added[token] for token in (shown - alone) & added.keys()}
    return {token for token, kind in added.items() if kind in kinds}


def _is_table(value: Tensor, lines: int) -> bool:
    return value.ndim == 2 and len(value) == lines and not value.is_floating_point()


def _without_zero_tiles(pixels: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The pixels with zeros replaced by `EPSILON`, so that no tile is taken for padding.

    A vision tower of the Idefics family, SmolVLM's too, is given a mask of pixels, yet drops every tile whose values
    are all 0, which is what a plain grey tile is normalised to.
    """
    if "pixel_attention_mask" not in pixels:
        return pixels
    values, counts = pixels["pixel_values"], pixels["pixel_attention_mask"].bool()
    return {**pixels, "pixel_values": values.masked_fill((values == 0) & counts.unsqueeze(-3), EPSILON)}


def _sizes(features: ModelOutput) -> list[int]:
    """Image tokens of each block."""
    return [len(block) if block.ndim > 1 else 1 for block in features.pooler_output]


def _blocks_per_prompt(sizes: Sequence[int], image_tokens: Sequence[int]) -> tuple[int, ...]:
    """The number of blocks of each prompt, from the number of its image tokens."""
    ends = {end: block for block, end in enumerate(accumulate(sizes, initial=0))}
    bounds = list(accumulate(image_tokens, initial=0))
    if bounds[-1] not in ends or not set(bounds) <= set(ends) or bounds[-1] != max(ends):
        raise UserError(
            f"`processor` must write as many image tokens as the vision tower makes features, prompt by prompt; it "
            f"wrote {list(image_tokens)} for blocks of {list(sizes)}. Check that processor and weights belong together."
        )
    return tuple(ends[end] - ends[start] for start, end in pairwise(bounds))
