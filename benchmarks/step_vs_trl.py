"""One step of GRPO through TRL's GRPOTrainer and through vlcal: time by part, memory, vision-tower calls, gradients.

    pip install trl==1.16.0 accelerate datasets        # needed by this benchmark alone
    python benchmarks/step_vs_trl.py --output runs/step_vs_trl.json
    python benchmarks/step_vs_trl.py --image 33 --completion 64 --output runs/step_vs_trl_long.json
    python benchmarks/step_vs_trl.py --device cuda --dtype bfloat16 --width 2048 --head 128 --layers 28 --image 32

Both sides get the same checkpoint (a Qwen3-VL of random weights), prompts, images, completion length, G, adapters,
loss (clipped surrogate with a KL penalty to the reference, averaged as in GRPO) and completions per pass, and run in
their own training loops, in turns, in one process, after a warm-up. No completion ends early. Each ratio is the median
over the turns of that turn's two times. Peak memory is measured in processes of their own.

What is in the parts. generation: processing and encoding the images, sampling. scoring: the pass without gradient that
vlcal takes entropy and old log-probabilities from; TRL does without in an aligned step. perturbed: spoiling, encoding
and scoring the perturbed images, which vlcal alone does, with the certainty and the rewards that follow from it.
reference: the pass of the reference, which in vlcal falls within the update. update: forward and backward pass,
clipping, optimizer. learner: scoring, reference and update. other: reading completions, rewards and advantages, TRL's
second processing of the images.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from clock import TIMES, PeakMemory
from machine import machine
from rich.console import Console
from rich.table import Table
from subject import Subject, add_options, subject_of
from transformers.utils.logging import disable_progress_bar
from trl_step import TrlStep, require_trl
from vlcal_step import LEARNER, Setting, VlcalStep

SIDES = {"trl": TrlStep, "vlcal": VlcalStep}
PARTS = ("generation", "scoring", "perturbed", "reference", "update", "other")
TINY = Subject(prompts=1, group=2, completion=4, image=4, layers=2, width=64)  # what is imported late is there after it
STIRRED = 0.02  # spread of the adapters when gradients are compared: fresh ones are 0, and half of the gradient too


def main() -> None:
    """Measure, show, write."""
    given = _options().parse_args()
    require_trl()
    disable_progress_bar()
    subject = subject_of(given)
    setting = Setting(**{field.name: getattr(given, field.name) for field in fields(Setting) if field.name in given})
    if given.peak_of:
        sys.stdout.write(json.dumps({"bytes": _peak(given.peak_of, subject, setting)}))
        return
    busy = machine(given.device)
    with tempfile.TemporaryDirectory() as folder:
        where = subject.write(Path(folder))
        peaks = {name: _peak_of_process(name) for name in SIDES}
        found = compare(where, subject, setting, given.repeats)
    result = {**summary(found, peaks), "peak_bytes": peaks, **found}
    result |= {"subject": asdict(subject), "setting": asdict(setting), "machine": busy, "command": sys.argv}
    console = Console(highlight=False, markup=False)
    console.print(table(result))
    console.print(*(f"{name} {value:.3g}" for name, value in summary(found, peaks).items()), sep="\n")
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def compare(folder: Path, subject: Subject, setting: Setting, repeats: int) -> dict[str, Any]:
    """Seconds by part of every turn, images through the tower, and how far the gradients are apart."""
    sides = {name: side(folder, subject, setting) for name, side in SIDES.items()}
    for side in sides.values():
        side.step()
        side.tower.images = 0
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            gc.collect()  # nobody pays for what the other left behind
            seconds[name].append(side.step())
    images = {name: side.tower.images / (repeats * subject.prompts) for name, side in sides.items()}
    difference = _gradient_difference(sides["trl"], sides["vlcal"])
    weights = sum(weight.numel() for weight in sides["vlcal"].policy.backbone.parameters())
    return {
        "seconds": seconds,
        "images_through_tower": images,
        "gradient_relative_difference": difference,
        "parameters": weights,
        "prompt_tokens": sides["vlcal"].prompt_tokens,
    }


def summary(found: dict[str, Any], peaks: dict[str, int]) -> dict[str, float]:
    """The figures that count, ratios first."""
    turns = list(zip(found["seconds"]["trl"], found["seconds"]["vlcal"], strict=True))
    ours = [vlcal for _, vlcal in turns]
    return {
        "learner_ratio": statistics.median(_learner(trl) / _learner(vlcal) for trl, vlcal in turns),
        "learner_ratio_without_scoring": statistics.median(
            (trl["reference"] + trl["update"]) / (vlcal["reference"] + vlcal["update"]) for trl, vlcal in turns
        ),
        "step_ratio": statistics.median(sum(trl.values()) / sum(vlcal.values()) for trl, vlcal in turns),
        "memory_ratio": peaks["vlcal"] / peaks["trl"],
        "perturbed_share": statistics.median(turn.get("perturbed", 0.0) / sum(turn.values()) for turn in ours),
        "vision_calls_per_image": found["images_through_tower"]["vlcal"],
        "gradient_relative_difference": found["gradient_relative_difference"],
    }


def table(result: dict[str, Any]) -> Table:
    """Median seconds of each part, side by side."""
    shown = Table(title="Seconds of one step, median over the turns")
    for column in ("part", *SIDES, "ratio"):
        shown.add_column(column, justify="left" if column == "part" else "right")
    turns = result["seconds"]
    rows: dict[str, Any] = {part: lambda turn, part=part: turn.get(part, 0.0) for part in PARTS}
    for name, measure in {**rows, "learner": _learner, "step": lambda turn: sum(turn.values())}.items():
        trl, vlcal = (statistics.median(map(measure, turns[side])) for side in SIDES)
        shown.add_row(name, f"{trl:.2f}", f"{vlcal:.2f}", f"{trl / vlcal:.2f}" if vlcal and trl else "")
    trl, vlcal = (result["peak_bytes"][side] / 2**20 for side in SIDES)
    shown.add_row("peak memory, MiB", f"{trl:.0f}", f"{vlcal:.0f}", f"{trl / vlcal:.2f}", style="dim")
    trl, vlcal = (result["images_through_tower"][side] for side in SIDES)
    shown.add_row("tower runs per image", f"{trl:g}", f"{vlcal:g}", f"{trl / vlcal:.2f}", style="dim")
    return shown


def _learner(turn: dict[str, float]) -> float:
    return sum(turn.get(part, 0.0) for part in LEARNER)


def _gradient_difference(trl: TrlStep, vlcal: VlcalStep) -> float:
    """Norm of the difference of the two gradients over that of TRL's, from the same weights and completions."""
    theirs, ours = trl.weights(), vlcal.weights()
    if theirs.keys() != ours.keys():
        raise ValueError(f"`adaptation` must give both sides the same weights; {theirs.keys() ^ ours.keys()} differ.")
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in ours.items():
            if "lora_" in name:
                weight.copy_(STIRRED * torch.randn(weight.shape, generator=rng))
            theirs[name].copy_(weight)
    wanted, completions, advantages = trl.gradients()
    got = vlcal.gradients(completions, advantages)
    apart = sum((got[name].double() - gradient.double()).square().sum() for name, gradient in wanted.items())
    return float((apart / sum(gradient.double().square().sum() for gradient in wanted.values())).sqrt())


def _peak(name: str, subject: Subject, setting: Setting) -> int:
    """Bytes by which a step grows the process, or what it holds of the GPU, beyond the model."""
    with tempfile.TemporaryDirectory() as folder:
        SIDES[name](TINY.write(Path(folder) / "tiny"), TINY, setting).step()
        side = SIDES[name](subject.write(Path(folder) / "whole"), subject, setting)
        memory = PeakMemory(setting.device)
        side.step()
        return memory.growth()


def _peak_of_process(name: str) -> int:
    asked = [sys.executable, __file__, *sys.argv[1:], "--peak-of", name]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return int(json.loads(told.splitlines()[-1])["bytes"])


def _options() -> ArgumentParser:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    add_options(parser)
    default = Setting()
    parser.add_argument("--adaptation", choices=("lora", "full"), default="lora", help="weights that learn")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="float32", help="of the weights, such as bfloat16")
    parser.add_argument("--groups-per-pass", type=int, default=1, help="groups that pass the model at once, both sides")
    parser.add_argument("--copies", type=int, default=1, help="perturbed copies per image, of vlcal alone")
    parser.add_argument(
        "--vision-share", type=float, default=default.vision_share, help="vision part of each completion, in [0, 1]"
    )
    parser.add_argument("--time", choices=TIMES, default="wall", help="whose seconds are counted")
    parser.add_argument("--repeats", type=int, default=3, help="turns that are timed")
    parser.add_argument("--output", type=Path, help="write ratios and raw figures as JSON")
    parser.add_argument("--peak-of", choices=SIDES, help="only tell the peak memory of one side, in this process")
    return parser


if __name__ == "__main__":
    main()
