"""What packing a group saves: the learner in plain and in packed rows, and a whole step as the group grows.

    python benchmarks/packing.py --output runs/packing.json

The learner is the scoring pass, the reference and the forward and backward pass of the update, from given completions,
over prompt length L, completion length T and group size G, one of them at a time about a centre. Beside the measured
ratio of packed to plain seconds stands that of the tokens, (L + G * T) / (G * (L + T)). The second table is a whole
step, sampling included, in packed rows: its cost should follow the tokens L + G * T, of which L is paid once.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from clock import TIMES
from machine import machine
from rich.console import Console
from rich.table import Table
from subject import Subject, add_options, subject_of
from transformers.utils.logging import disable_progress_bar
from vlcal_step import LEARNER, Setting, VlcalStep

from vlcal.policy.layouts.layout import Plain

Row = dict[str, float]


def main() -> None:
    """Measure, show, write."""
    given = _options().parse_args()
    disable_progress_bar()
    centre, setting = subject_of(given), Setting(device=given.device, dtype=given.dtype, time=given.time)
    console = Console(highlight=False, markup=False)
    result: dict[str, Any] = {"learner": [], "steps": [], "subject": asdict(centre), "setting": asdict(setting)}
    result |= {"machine": machine(given.device), "command": sys.argv}
    with tempfile.TemporaryDirectory() as folder:
        where = centre.write(Path(folder))
        for subject in around(centre, given.images, given.completions, given.groups):
            result["learner"].append(learner_row(where, subject, replace(setting, vision_share=0.0), given.repeats))
            _keep(result, given.output)
        console.print(learner_table(result["learner"]))
        for size in given.groups:
            result["steps"].append(step_row(where, replace(centre, group=size), setting, given.repeats))
            _keep(result, given.output)
        console.print(step_table(result["steps"]))


def _keep(result: dict[str, Any], output: Path | None) -> None:
    """Write what is measured so far: a run that is cut short leaves its rows."""
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def around(centre: Subject, images: Sequence[int], completions: Sequence[int], groups: Sequence[int]) -> list[Subject]:
    """The centre with one size changed at a time, each only once."""
    changed = [replace(centre, image=size) for size in images]
    changed += [replace(centre, completion=size) for size in completions]
    changed += [replace(centre, group=size) for size in groups]
    return list(dict.fromkeys(changed))


def learner_row(folder: Path, subject: Subject, setting: Setting, repeats: int) -> Row:
    """Seconds of the learner in both layouts, in turns, after a warm-up of each."""
    side = VlcalStep(folder, subject, setting)
    length, many, long = side.prompt_tokens, subject.group, subject.completion
    rng = torch.Generator().manual_seed(subject.seed)
    ordinary = side.policy.placeholders[0]  # every token below the first that stands for pictures
    tokens = torch.randint(ordinary, (subject.prompts * many, long), generator=rng).to(setting.device)
    advantages = torch.randn(len(tokens), generator=rng).to(setting.device)
    budgets = {"plain": many * (length + long), "packed": length + many * long}  # a whole group a pass
    layouts = {"plain": Plain(), "packed": side.policy.layout}
    seconds: dict[str, list[float]] = {name: [] for name in layouts}
    for _ in range(repeats + 1):
        for name, layout in layouts.items():
            side.policy.__dict__["layout"], side.module.update.token_budget = layout, budgets[name]
            side.gradients(tokens, advantages)
            parts = side.clock.read()
            seconds[name].append(sum(parts[part] for part in LEARNER))
    turns = list(zip(seconds["plain"][1:], seconds["packed"][1:], strict=True))
    return {
        "L": length,
        "T": long,
        "G": many,
        "tokens": budgets["packed"] / budgets["plain"],
        "measured": statistics.median(packed / plain for plain, packed in turns),
        "plain_seconds": statistics.median(plain for plain, _ in turns),
        "packed_seconds": statistics.median(packed for _, packed in turns),
    }


def step_row(folder: Path, subject: Subject, setting: Setting, repeats: int) -> Row:
    """Median seconds of each part of a whole step, and the tokens of a packed row."""
    side = VlcalStep(folder, subject, setting)
    turns = [side.step() for _ in range(repeats + 1)][1:]
    parts = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    return {
        "G": subject.group,
        "packed_tokens": side.prompt_tokens + subject.group * subject.completion,
        "plain_tokens": subject.group * (side.prompt_tokens + subject.completion),
        **parts,
        "learner": sum(parts[part] for part in LEARNER),
        "step": statistics.median(sum(turn.values()) for turn in turns),
    }


def learner_table(rows: Sequence[Row]) -> Table:
    """Both layouts beside the tokens they pass."""
    shown = Table(title="Learner, packed over plain")
    for column in ("L", "T", "G", "plain, s", "packed, s", "measured", "tokens", "speed-up"):
        shown.add_column(column, justify="right")
    for row in rows:
        shown.add_row(
            *(str(row[name]) for name in ("L", "T", "G")),
            *(f"{row[name]:.2f}" for name in ("plain_seconds", "packed_seconds", "measured", "tokens")),
            f"{1 / row['measured']:.2f}",
        )
    return shown


def step_table(rows: Sequence[Row]) -> Table:
    """Each group size beside the smallest."""
    shown = Table(title="Step in packed rows as the group grows, over the smallest group")
    for column in ("G", "step, s", "step", "learner", "generation", "packed tokens", "plain tokens"):
        shown.add_column(column, justify="right")
    first = rows[0]
    for row in rows:
        names = ("step", "learner", "generation", "packed_tokens", "plain_tokens")
        shown.add_row(str(row["G"]), f"{row['step']:.2f}", *(f"{row[name] / first[name]:.2f}" for name in names))
    return shown


def _options() -> ArgumentParser:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    add_options(parser, prompts=1)
    parser.add_argument("--images", type=int, nargs="+", default=[8, 18, 26], help="values of `image`")
    parser.add_argument("--completions", type=int, nargs="+", default=[24, 96, 192], help="values of `completion`")
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 4, 8, 16], help="values of `group`")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="float32", help="of the weights, such as bfloat16")
    parser.add_argument("--time", choices=TIMES, default="wall", help="whose seconds are counted")
    parser.add_argument("--repeats", type=int, default=2, help="turns that are timed")
    parser.add_argument("--output", type=Path, help="write raw figures as JSON")
    return parser


if __name__ == "__main__":
    main()
