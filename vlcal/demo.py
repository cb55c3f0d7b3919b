"""The demonstration: warm-up, reinforcement, and validation before and after, on real handwriting, within minutes."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vlcal.data.digits import DigitsDemonstrations
from vlcal.errors import UserError
from vlcal.files import write_whole
from vlcal.policy.embedded import write_embedded_model
from vlcal.text import Grammar

Run = Callable[[list[str]], dict[str, float]]
CONFIGS = Path(__file__).parents[1] / "configs" / "digits"
WIDEST_LEVEL = "10"  # two digits: one token only if the tokenizer is told so
ROWS = {
    "accuracy": "answer right",
    "ece": "overall confidence: ECE",
    "auroc": "overall confidence: AUROC",
    "brier": "overall confidence: Brier score",
    "visual_ece": "visual confidence against the true reading: ECE",
    "visual_auroc": "visual confidence against the true reading: AUROC",
    "reasoning_ece": "reasoning confidence against the true reasoning: ECE",
    "reasoning_auroc": "reasoning confidence against the true reasoning: AUROC",
    "certainty_auroc": "label-free visual certainty against the true reading: AUROC",
    "clearness_auroc": "ceiling, how little the scene was spoiled against the true reading: AUROC",
    "parse_rate": "responses in the asked form",
    "n": "scenes of unseen digits",
}


def demonstrate(run: Run, folder: Path, recipe: str, seed: int) -> dict[str, object]:
    """Everything the demonstration does, in `folder`; gives what it wrote to `summary.json`.

    Args:
        run: Runs one `vlcal` command and gives the figures it ended with.
        folder: Where checkpoints, logs, predictions and diagrams go; an earlier demonstration there is replaced.
        recipe: Name of the reinforcement config in configs/digits.
        seed: Of weights, scenes and samples.
    """
    _recipe(recipe, folder, seed)  # a name that is none shall not cost a warm-up
    console = Console()
    start = time.monotonic()
    console.rule("1 of 4  warm-up: learning to see, to reason and to write a response")
    warm_up(run, folder, seed)
    console.rule("2 of 4  before: stated confidences mean nothing yet")
    before = judge(run, folder, recipe, seed, "before")
    console.rule("3 of 4  reinforcement: learning what the confidences mean")
    reinforce(run, folder, recipe, seed)
    console.rule("4 of 4  after")
    after = judge(run, folder, recipe, seed, "after", trained=True)

    seconds = time.monotonic() - start
    summary: dict[str, object] = {"before": known(before), "after": known(after)}
    summary |= {"recipe": recipe, "seed": seed, "seconds": round(seconds, 1)}
    write_whole(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    console.print(table(before, after))
    console.print(
        f"{seconds:.0f} s. Everything is in {folder}; watch it with: tensorboard --logdir {folder}/tensorboard"
    )
    return summary


def known(figures: Mapping[str, float]) -> dict[str, float | None]:
    """The figures with None, which JSON can say, where there is none."""
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def warm_up(run: Run, folder: Path, seed: int) -> None:
    """An embedded model in `folder`/warm that reads, reasons and states confidences at random.

    Raises:
        UserError: If the folder holds anything but an earlier demonstration.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "embedded").is_dir():
        raise UserError(f"`folder` must be new, empty or an earlier demonstration; {folder} holds something else.")
    shutil.rmtree(folder, ignore_errors=True)
    grammar = Grammar(instructions="")
    corpus = DigitsDemonstrations(grammar=grammar).corpus()
    write_embedded_model(folder / "embedded", corpus, [*grammar.tags, WIDEST_LEVEL], seed)
    run(["fit", *_recipe("warmup", folder, seed)])


def reinforce(run: Run, folder: Path, recipe: str, seed: int) -> None:
    """Train the warm model by a recipe; it is judged afterwards, so not at the end of training as well."""
    run(["fit", *_recipe(recipe, folder, seed), "--trainer.limit_val_batches", "0"])


def judge(run: Run, folder: Path, recipe: str, seed: int, stage: str, trained: bool = False) -> dict[str, float]:
    """The figures of the warm or the trained policy on unseen digits; keeps its predictions and diagrams."""
    outputs = [
        *("--trainer.callbacks+", "vlcal.callbacks.PredictionWriter"),
        *("--trainer.callbacks.path", str(folder / f"{stage}.jsonl")),
        *("--trainer.callbacks+", "vlcal.callbacks.ReliabilityDiagram"),
        *("--trainer.callbacks.folder", str(folder / f"reliability-{stage}")),
    ]
    weights = ["--ckpt_path", str(folder / "checkpoints" / recipe / "last.ckpt")] if trained else []
    return run(["validate", *_recipe(recipe, folder, seed), *outputs, *weights])


def _recipe(name: str, folder: Path, seed: int) -> list[str]:
    config = CONFIGS / f"{name}.yaml"
    if not config.is_file():
        raise UserError(f"`recipe` must name a config in {CONFIGS}, which a clone has; got {name!r}.")
    return ["--config", str(config), "--seed_everything", str(seed), "--trainer.default_root_dir", str(folder)]


def table(before: dict[str, float], after: dict[str, float]) -> Table:
    """The figures before and after, side by side."""
    shown = Table("", "before", "after", title="Unseen handwriting, before and after reinforcement")
    for key, label in ROWS.items():
        shown.add_row(
            label, *(f"{figures[key]:.0f}" if key == "n" else f"{figures[key]:.3f}" for figures in (before, after))
        )
    return shown
