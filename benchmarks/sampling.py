"""Sampling groups beside transformers: `generate`, and its continuous batching; in turns, in one process.

    python benchmarks/sampling.py --output runs/sampling.json
    python benchmarks/sampling.py --device cuda --dtype bfloat16 --width 2048 --head 128 --layers 28 --image 32

All sides have the same Qwen3-VL of random weights with the same adapters, sample from all tokens that are not
forbidden, and no completion ends early. Every ratio is the median over the turns of that turn's two times.

images to completions: processing and encoding the images, and sampling; `generate` is given one prompt per group and
`num_return_sequences`. features to completions: sampling alone, both from the same features of the images; here
`generate` draws by the numbers of vlcal. text to completions: prompts of as many words as the others have tokens, since
continuous batching takes no images; it is asked for each completion by a request of its own, and keeps one copy of
equal prompts.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from clock import TIMES, Clock
from machine import machine
from rich.console import Console
from rich.table import Table
from subject import Subject, add_options, made_up_words, subject_of
from transformers import GenerationConfig
from transformers.utils.logging import disable_progress_bar
from vlcal_step import ALPHA, RANK

from vlcal.policy import EncodedPrompts, GroupEngine, LoRA, Policy, PolicySpec, TransformersEngine
from vlcal.policy.encode import processor_inputs
from vlcal.text import Grammar
from vlcal.types import PromptBatch

GRAMMAR = Grammar(instructions="")


@dataclass(frozen=True)
class Sides:
    """What is compared.

    Args:
        policy: What writes.
        subject: Prompts, group size and length.
    """

    policy: Policy
    subject: Subject

    @property
    def seeds(self) -> list[int]:
        """Of the prompts."""
        return list(range(self.subject.prompts))

    @cached_property
    def encoded(self) -> EncodedPrompts:
        """The prompts with the features of their images."""
        return self.policy.encode(self.subject.questions(), GRAMMAR)

    @cached_property
    def text(self) -> PromptBatch:
        """Prompts without an image, of about as many tokens."""
        words = made_up_words(self.encoded.length, self.subject.seed)
        shown = self.subject.questions()
        questions = tuple(" ".join([*words[place:], *words[:place]]) for place in range(len(shown)))
        return replace(shown, images=((),) * len(shown), questions=questions)

    @cached_property
    def encoded_text(self) -> EncodedPrompts:
        """The prompts without an image."""
        return self.policy.encode(self.text, GRAMMAR)

    def groups(self, encoded: EncodedPrompts) -> int:
        """Sampled by `GroupEngine`; how many tokens."""
        engine = GroupEngine(self.subject.completion)
        return int(engine.sample(self.policy, encoded, self.subject.group, self.seeds).mask.sum())

    def encoded_groups(self) -> int:
        """Images encoded, then sampled by `GroupEngine`."""
        return self.groups(self.policy.encode(self.subject.questions(), GRAMMAR))

    def generated(self) -> int:
        """By `generate`, from processed images."""
        inputs = processor_inputs(self.policy.processor, self.subject.questions(), GRAMMAR)
        inputs = {name: value.to(self.policy.device) for name, value in inputs.items()}
        settings = replace_settings(self.settings, num_return_sequences=self.subject.group)
        with torch.no_grad():
            written = self.policy.backbone.generate(**inputs, generation_config=settings)
        return int(written[:, inputs["input_ids"].shape[1] :].numel())

    def generated_from_features(self) -> int:
        """By `generate`, from features."""
        engine = TransformersEngine(self.subject.completion)
        return int(engine.sample(self.policy, self.encoded, self.subject.group, self.seeds).mask.sum())

    def continuously(self) -> int:
        """By continuous batching, from text."""
        rows = self.encoded_text.rows
        asked = [row[seen.bool()].tolist() for row, seen in zip(rows["input_ids"], rows["attention_mask"], strict=True)]
        with torch.no_grad():
            found = self.policy.backbone.generate_batch(
                inputs=[prompt for prompt in asked for _ in range(self.subject.group)],
                generation_config=self.settings,
                progress_bar=False,
            )
        return sum(len(one.generated_tokens) for one in found.values())

    @property
    def settings(self) -> GenerationConfig:
        """Samples from all tokens that are not forbidden, and never ends early."""
        return GenerationConfig(
            do_sample=True,
            top_k=0,
            max_new_tokens=self.subject.completion,
            suppress_tokens=self.policy.placeholders,
            eos_token_id=-1,
            pad_token_id=self.policy.pad_token_id,
        )


def replace_settings(settings: GenerationConfig, **changed: Any) -> GenerationConfig:
    """The settings with some of another value."""
    return GenerationConfig(**{**settings.to_dict(), **changed})


def compared(sides: Sides, continuous: bool) -> dict[str, tuple[Callable[[], int], Callable[[], int]]]:
    """Each comparison: transformers, and vlcal."""
    found: dict[str, tuple[Callable[[], int], Callable[[], int]]] = {
        "images to completions": (sides.generated, sides.encoded_groups),
        "features to completions": (sides.generated_from_features, lambda: sides.groups(sides.encoded)),
    }
    if continuous:
        found["text to completions"] = (sides.continuously, lambda: sides.groups(sides.encoded_text))
    return found


def measured(sides: Sides, clock: Clock, continuous: bool, repeats: int) -> list[dict[str, Any]]:
    """Seconds of both sides of every comparison, in turns; the first turn warms up, and is not counted.

    Raises:
        ValueError: If a side wrote more or fewer tokens than the other.
    """
    rows = []
    for name, pair in compared(sides, continuous).items():
        turns: list[tuple[float, ...]] = []
        for _ in range(repeats + 1):
            seconds = []
            for side in pair:
                with clock.part(name):
                    tokens = side()
                if tokens != (wanted := sides.subject.prompts * sides.subject.group * sides.subject.completion):
                    raise ValueError(f"{name}: a side wrote {tokens} tokens, not {wanted}.")
                seconds.append(clock.read()[name])
            turns.append(tuple(seconds))
        ratio = statistics.median(theirs / ours for theirs, ours in turns[1:])
        theirs, ours = (statistics.median(column) for column in zip(*turns[1:], strict=True))
        rows.append({"what": name, "transformers": theirs, "vlcal": ours, "ratio": ratio, "turns": turns[1:]})
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """Median seconds of each side."""
    shown = Table(title="Seconds of sampling, median over the turns")
    for column in ("what", "transformers", "vlcal", "ratio"):
        shown.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        shown.add_row(row["what"], *(f"{row[name]:.2f}" for name in ("transformers", "vlcal", "ratio")))
    return shown


def main() -> None:
    """Measure, show, write."""
    given = _options().parse_args()
    disable_progress_bar()
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    subject, busy = subject_of(given), machine(given.device)
    with tempfile.TemporaryDirectory() as folder:
        policy = PolicySpec(str(subject.write(Path(folder))), LoRA(RANK, ALPHA), given.dtype).build().to(given.device)
        _ = policy.layout  # chosen once a run
        sides = Sides(policy, subject)
        rows = measured(sides, Clock(given.device, given.time), given.continuous, given.repeats)
    Console(highlight=False, markup=False).print(table(rows))
    if given.output:
        result = {"rows": rows, "prompt_tokens": sides.encoded.length, "subject": asdict(subject)}
        given.output.parent.mkdir(parents=True, exist_ok=True)
        written = json.dumps({**result, "machine": busy, "command": sys.argv}, indent=2)
        given.output.write_text(written + "\n", encoding="utf-8")


def _options() -> ArgumentParser:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="float32", help="of the weights, such as bfloat16")
    parser.add_argument("--time", choices=TIMES, default="wall", help="whose seconds are counted")
    parser.add_argument("--continuous", action="store_true", help="continuous batching too; slow on a CPU")
    parser.add_argument("--repeats", type=int, default=3, help="turns that are timed")
    parser.add_argument("--output", type=Path, help="write ratios and raw figures as JSON")
    return parser


if __name__ == "__main__":
    main()
