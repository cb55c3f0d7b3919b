"""What the benchmarks run on: a Qwen3-VL of random weights in the proportions of a real one, and prompts about images.

Nothing is downloaded. The tokenizer and the processor are those of vlcal's embedded model; the weights are made to
measure. At the default sizes an image of 324 tokens costs the vision tower about 0.8 of what prompt and completion
cost the language model, as in Qwen3-VL-2B, and the head is a sixth of the language model, as there.
"""

from __future__ import annotations

import random
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from transformers import AutoProcessor, GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from vlcal.policy.embedded import END, IMAGE, PAD, PATCH, SPECIAL, write_embedded_model
from vlcal.types import PromptBatch

QUESTION = "which of these is the one that"  # of some ten tokens, as the images are most of a prompt
TOKEN_PIXELS = 2 * PATCH  # side of the square of an image that becomes one token
LARGEST = 64  # image tokens along each side that the processor leaves as they are
BPE_TOKENS = 2048  # what the tokenizer of the embedded model learns; further tokens are whole words
HEADS = (32, 64, 128)
SMALLEST = BPE_TOKENS + len(SPECIAL)


@dataclass(frozen=True)
class Subject:
    """The model and the questions.

    Args:
        prompts: Prompts a step.
        group: Completions per prompt, `G`.
        completion: Tokens of each completion, `T`; none ends earlier.
        image: Image tokens along each side of a square image.
        layers: Blocks of the language model; the vision tower has a third as many, at least 2.
        width: Hidden size of the language model, a multiple of twice `head`; the tower has three quarters of it.
        head: Size of an attention head of the language model, 32, 64 or 128.
        vocabulary: Tokens, at least 2055.
        seed: Of weights, images and questions.
    """

    prompts: int = 2
    group: int = 8
    completion: int = 96
    image: int = 18
    layers: int = 6
    width: int = 256
    head: int = 32
    vocabulary: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.vocabulary < SMALLEST:
            raise ValueError(f"`vocabulary` must be at least {SMALLEST} tokens; got {self.vocabulary}.")
        if self.head not in HEADS:
            raise ValueError(f"`head` must be one of {HEADS}, which three axes of positions share; got {self.head}.")
        if self.width % (2 * self.head):
            raise ValueError(f"`width` must be a multiple of {2 * self.head}, twice `head`; got {self.width}.")
        if not 2 <= self.image <= LARGEST:
            raise ValueError(f"`image` must lie between 2 and {LARGEST} tokens a side; got {self.image}.")
        if self.group < 2:
            raise ValueError(f"`group` must be at least 2, since a lone completion has no baseline; got {self.group}.")

    def write(self, folder: Path) -> Path:
        """The checkpoint, in `folder`. What ends a completion is a token that is never sampled, so that none ends."""
        words = made_up_words(self.vocabulary, self.seed)
        whole = words[: self.vocabulary - SMALLEST]
        write_embedded_model(folder, [" ".join(["", *words])] * 2 + [QUESTION], whole, self.seed)
        processor = AutoProcessor.from_pretrained(folder)
        processor.tokenizer.eos_token = IMAGE
        processor.chat_template = processor.chat_template.replace(END, "")  # a turn without an end
        processor.image_processor.size = {
            "shortest_edge": TOKEN_PIXELS**2,
            "longest_edge": (LARGEST * TOKEN_PIXELS) ** 2,
        }
        processor.save_pretrained(folder)
        token = processor.tokenizer.convert_tokens_to_ids
        torch.manual_seed(self.seed)
        model = Qwen3VLForConditionalGeneration(self._config(folder, len(processor.tokenizer)))
        model.generation_config = GenerationConfig(eos_token_id=token(IMAGE), pad_token_id=token(PAD))
        model.save_pretrained(folder)
        return folder

    def questions(self) -> PromptBatch:
        """The prompts of every step, with images of eight-bit noise."""
        rng = torch.Generator().manual_seed(self.seed)
        side = self.image * TOKEN_PIXELS
        images = [torch.randint(256, (3, side, side), generator=rng) / 255 for _ in range(self.prompts)]
        names = [str(number) for number in range(self.prompts)]
        return PromptBatch(
            ids=tuple(names),
            images=tuple((image,) for image in images),
            questions=tuple(f"{QUESTION} {word}" for word in made_up_words(self.prompts, self.seed + 1)),
            targets=("",) * self.prompts,
            extras=({},) * self.prompts,
        )

    def _config(self, folder: Path, vocabulary: int) -> Qwen3VLConfig:
        config = Qwen3VLConfig.from_pretrained(folder)
        text, vision = config.text_config, config.vision_config
        text.vocab_size, text.hidden_size, text.intermediate_size = vocabulary, self.width, 3 * self.width
        text.num_hidden_layers, text.max_position_embeddings = self.layers, 32768
        text.head_dim, text.num_attention_heads = self.head, self.width // self.head
        text.num_key_value_heads = self.width // (2 * self.head)
        text.rope_parameters["mrope_section"] = [self.head // 32 * axis for axis in (6, 5, 5)]
        vision.depth, vision.hidden_size = max(2, self.layers // 3), 3 * self.width // 4
        vision.num_heads = vision.hidden_size // 48
        vision.intermediate_size = 3 * self.width
        vision.out_hidden_size = self.width
        return config


def add_options(parser: ArgumentParser, **defaults: int) -> None:
    """One option for each size of the subject, with its default or another one."""
    meaning = _meanings()
    for field in fields(Subject):
        default = defaults.get(field.name, field.default)
        parser.add_argument(f"--{field.name}", type=int, default=default, help=f"{meaning[field.name]} (%(default)s)")


def subject_of(given: Namespace) -> Subject:
    """The subject that the options describe."""
    return Subject(**{field.name: getattr(given, field.name) for field in fields(Subject)})


def _meanings() -> dict[str, str]:
    """The lines of the docstring's `Args:`, which are the help of the options."""
    lines = str(Subject.__doc__).split("Args:")[1].strip().splitlines()
    return {name.strip(): meaning.strip() for name, _, meaning in (line.partition(":") for line in lines)}


def made_up_words(count: int, seed: int) -> list[str]:
    """Different made-up words."""
    rng = random.Random(seed)
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3))] = None
    return list(words)
