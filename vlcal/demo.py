"""The demonstration: reinforcement of the shipped base, validated before and after, on real handwriting."""

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
from vlcal.evaluation.trust import trust_figures
from vlcal.files import write_whole
from vlcal.policy.embedded import write_embedded_model
from vlcal.text import Grammar

Run = Callable[[list[str]], dict[str, float]]
Prepare = Callable[[Run, Path, int], None]
CONFIGS = Path(__file__).parent / "configs" / "digits"  # a link to those of the clone, whose files a wheel holds
BASE = Path(__file__).parent / "base"
SCRATCH_STEPS = 600  # of pretraining, where the base is not used: it reads clear digits then, and few spoiled ones
WIDEST_LEVEL = "10"  # two digits: one token only if the tokenizer is told so
ROWS = {
    "accuracy": "answer right",
    "ece": "overall confidence: ECE",
    "auroc": "overall confidence: AUROC",
    "overall_ceiling_auroc": "  ceiling, likelihood of reading and conclusion",
    "brier": "overall confidence: Brier score",
    "visual_ece": "visual confidence against the true reading: ECE",
    "visual_auroc": "visual confidence against the true reading: AUROC",
    "visual_ceiling_auroc": "  ceiling, likelihood of the reading",
    "visual_within_auroc": "  between readings of one image",
    "visual_ceiling_within_auroc": "  ceiling of that",
    "altered_auroc": "visual confidence, true reading or one altered in a digit: AUROC",
    "altered_fall": "  how far it falls when the digit is altered",
    "altered_fall_ceiling": "  how far the likelihood falls",
    "altered_fall_on_blank": "  how far the confidence falls on a blank image",
    "reasoning_ece": "reasoning confidence against the true reasoning: ECE",
    "reasoning_auroc": "reasoning confidence against the true reasoning: AUROC",
    "reasoning_ceiling_auroc": "  ceiling, likelihood of the conclusion",
    "reasoning_wrong": "wrong conclusions from what was read",
    "certainty_auroc": "label-free visual certainty against the true reading: AUROC",
    "clearness_auroc": "how little the scene was spoiled against the true reading: AUROC",
    "parse_rate": "responses in the asked form",
    "n": "responses about scenes of unseen digits",
}
COUNTS = ("reasoning_wrong", "n")


def demonstrate(run: Run, folder: Path, recipe: str, seed: int, prepare: Prepare) -> dict[str, object]:
    """Everything the demonstration does, in `folder`; gives what it wrote to `summary.json`.

    Args:
        run: Runs one `vlcal` command and gives what it logged last, by name.
        folder: Where checkpoints, logs, predictions and diagrams go; an earlier demonstration there is replaced.
        recipe: Name of the reinforcement config in configs/digits.
        seed: Of scenes and samples, and of the weights where they are made from nothing.
        prepare: Puts the policy to start from into the folder.
    """
    _recipe(recipe, folder, seed)  # a name that is none shall not cost a pretraining
    console = Console()
    start = time.monotonic()
    console.rule("1 of 4  base: a model that reads, reasons and checks its reading")
    clear(folder)
    prepare(run, folder, seed)
    console.rule("2 of 4  before: stated confidences mean nothing yet")
    before = judge(run, folder, recipe, seed, "before")
    console.rule("3 of 4  reinforcement: learning what the confidences mean")
    reinforce(run, folder, recipe, seed)
    console.rule("4 of 4  after")
    after = judge(run, folder, recipe, seed, "after", trained=True)

    seconds = time.monotonic() - start
    summary: dict[str, object] = {"before": before, "after": after}
    summary |= {"recipe": recipe, "seed": seed, "seconds": round(seconds, 1)}
    write_whole(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    console.print(table(before, after))
    console.print(
        f"{seconds:.0f} s. Everything is in {folder}; watch it with: tensorboard --logdir {folder}/tensorboard"
        f"\nAsk the model at a page in the browser: vlcal ui {folder}"
    )
    return summary


def finished(folder: Path, recipe: str, seed: int, from_scratch: bool) -> bool:
    """Whether a folder holds a demonstration that came to its end, of this recipe, seed and kind of base."""
    try:
        summary = json.loads((folder / "summary.json").read_bytes())
    except (OSError, ValueError):
        return False
    same = isinstance(summary, dict) and (summary.get("recipe"), summary.get("seed")) == (recipe, seed)
    return same and (folder / "embedded").is_dir() == from_scratch


def clear(folder: Path) -> None:
    """Remove an earlier demonstration.

    Raises:
        UserError: If the folder holds anything else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "warm").is_dir():
        raise UserError(f"`folder` must be new, empty or an earlier demonstration; {folder} holds something else.")
    shutil.rmtree(folder, ignore_errors=True)


def take_base(run: Run, folder: Path, seed: int) -> None:
    """Put a copy of the shipped base into `folder`/warm."""
    shutil.copytree(BASE, folder / "warm")


def pretrain(run: Run, folder: Path, seed: int, steps: int = SCRATCH_STEPS) -> None:
    """Put a model that was pretrained from nothing into `folder`/warm, as the shipped base was, in fewer steps."""
    grammar = Grammar(instructions="")
    corpus = DigitsDemonstrations(grammar=grammar).corpus()
    write_embedded_model(folder / "embedded", corpus, [*grammar.tags, WIDEST_LEVEL], seed)
    run(["fit", *_recipe("base", folder, seed), "--data.steps", str(steps), "--data.verdict_share", "1.0"])


def reinforce(run: Run, folder: Path, recipe: str, seed: int) -> None:
    """Train the policy in `folder`/warm by a recipe; it is judged afterwards, so not at the end of training as well."""
    run(["fit", *_recipe(recipe, folder, seed), "--trainer.limit_val_batches", "0"])


def judge(run: Run, folder: Path, recipe: str, seed: int, stage: str, trained: bool = False) -> dict[str, float | None]:
    """The figures of the policy before or after reinforcement on unseen digits; keeps all that they are made of."""
    ceiling = json.dumps({"ceiling": {"class_path": "vlcal.probes.ResponseLikelihood"}})
    altered = json.dumps({"altered": {"class_path": "vlcal.probes.AlteredReading"}})
    outputs = [
        *("--trainer.callbacks+", "vlcal.callbacks.PredictionWriter"),
        *("--trainer.callbacks.path", str(folder / f"{stage}.jsonl")),
        *("--trainer.callbacks+", "vlcal.callbacks.ReliabilityDiagram"),
        *("--trainer.callbacks.folder", str(folder / f"reliability-{stage}")),
        *("--trainer.callbacks+", "vlcal.callbacks.ReadoutWriter"),
        *("--trainer.callbacks.path", str(folder / f"{stage}.readouts.jsonl")),
        *("--trainer.callbacks.readouts", ceiling),
        *("--trainer.callbacks+", "vlcal.callbacks.ProbeWriter"),
        *("--trainer.callbacks.path", str(folder / f"{stage}.probes.json")),
        *("--trainer.callbacks.probes", altered),
    ]
    weights = ["--ckpt_path", str(folder / "checkpoints" / recipe / "last.ckpt")] if trained else []
    return figures(run(["validate", *_recipe(recipe, folder, seed), *outputs, *weights]))


def figures(logged: Mapping[str, float]) -> dict[str, float | None]:
    """What a validation logged, by the names of a summary; None, which JSON can say, where there is no figure."""
    start = "val/calibration/"
    known = {name.removeprefix(start): value for name, value in logged.items() if name.startswith(start)}
    return {
        name: None if value is None or math.isnan(value) else value
        for name, value in (known | trust_figures(logged)).items()
    }


def _recipe(name: str, folder: Path, seed: int) -> list[str]:
    config = CONFIGS / f"{name}.yaml"
    if not config.is_file():
        raise UserError(f"`recipe` must name a config in {CONFIGS}; got {name!r}.")
    return ["--config", str(config), "--seed_everything", str(seed), "--trainer.default_root_dir", str(folder)]


def table(before: Mapping[str, float | None], after: Mapping[str, float | None]) -> Table:
    """The figures before and after, side by side."""
    shown = Table("", "before", "after", title="Unseen handwriting, before and after reinforcement")
    for key, label in ROWS.items():
        values = (figures.get(key) for figures in (before, after))
        shown.add_row(label, *("" if x is None else f"{x:.0f}" if key in COUNTS else f"{x:.3f}" for x in values))
    return shown
