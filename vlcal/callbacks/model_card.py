"""The model card: README.md beside an exported checkpoint, in the form that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vlcal.errors import UserError, one_line
from vlcal.evaluation.metrics import WrongAndUnsure
from vlcal.evaluation.metrics.table import metric_estimates
from vlcal.evaluation.outputs import DeclaredScale, Outputs, Request, read_outputs
from vlcal.evaluation.outputs.shares import prediction_files
from vlcal.evaluation.report.content import Cell, Table, count, estimate_cell
from vlcal.evaluation.report.renderings import markdown_table
from vlcal.evaluation.report.tables import metric_label
from vlcal.files import write_whole
from vlcal.text import Grammar
from vlcal.version import VERSION

CARD = "README.md"
SHOWN = ("accuracy", "mean_confidence", "ece_equal_width", "brier", "auroc", "within_auroc", "distinct_values")
UNMEASURED = (
    "Not measured: the run holds no predictions of a validation. `vlcal validate` with `PredictionWriter` writes them."
)
LIMITS = (
    "The confidences were learned on the data above. On other data they may be miscalibrated: measure them on labelled "
    "answers of your own (`vlcal score`) before a decision depends on them.",
    "The two confidences are what the model says. A response without them, or in another form, has none, and counts as "
    "unsure.",
    "The licences of the base model and of the data apply.",
)


@dataclass(frozen=True)
class ModelCard:
    """What a reader of an exported checkpoint must know.

    Args:
        base: Folder or hub name of the checkpoint that was trained.
        data: The `data` section of the run's config; empty where there is none.
        command: As typed.
        grammar: Form of the responses; None where the run does not read them.
        measured: Predictions of a validation; None where the run holds none.
        why_unmeasured: Said in place of the figures where there are none.
        notes: What else limits the use, a sentence each.
    """

    base: str
    data: Mapping[str, Any]
    command: str
    grammar: Grammar | None
    measured: Outputs | None
    why_unmeasured: str = UNMEASURED
    notes: Sequence[str] = ()

    def write(self, folder: Path) -> None:
        """Write README.md beside a checkpoint, in place of one that peft or transformers wrote."""
        adapter = (folder / "adapter_config.json").is_file()
        write_whole(folder / CARD, "\n\n".join([self._front_matter(adapter), *self._body(adapter)]) + "\n")

    def _front_matter(self, adapter: bool) -> str:
        """The fields by which the hub files a model; the base only by a name that the hub knows."""
        on_hub = {"base_model": self.base, "base_model_relation": "adapter" if adapter else "finetune"}
        fields = {
            **({} if Path(self.base).exists() else on_hub),
            "library_name": "peft" if adapter else "transformers",
            "pipeline_tag": "image-text-to-text",
            "tags": ["vlcal", "calibration", "confidence", *(["lora"] if adapter else [])],
        }
        return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---"

    def _body(self, adapter: bool) -> Iterator[str]:
        what = "An adapter for" if adapter else "The weights of"
        yield "# A vision-language model that states two calibrated confidences"
        yield (
            f"{what} `{Path(self.base).name if Path(self.base).exists() else self.base}`, trained with vlcal "
            f"{VERSION} to say after each answer how sure it is of what it saw (visual confidence) and of "
            "what it concluded from that (reasoning confidence)."
        )
        yield f"## Training\n\n{_block(self.command, 'text')}"
        if self.data:
            yield f"Data:\n\n{_block(yaml.safe_dump(dict(self.data), sort_keys=False), 'yaml')}"
        if self.grammar is not None:
            yield from _use(self.grammar)
        yield "## Measured"
        yield self.why_unmeasured if self.measured is None else _figures(self.measured)
        yield "## Limits\n\n" + "\n".join(f"- {limit}" for limit in (*LIMITS, *self.notes))


def validated(folder: Path | None, since: float = 0.0) -> tuple[Outputs | None, str]:
    """The latest predictions with verdicts in the folder of a run, or None and why there are none.

    A file whose name begins with "before" is of the base and passed over.

    Args:
        folder: Of the run; None where it has none.
        since: Seconds of the epoch; what was written earlier is of other weights.
    """
    if folder is None or not folder.is_dir():
        return None, UNMEASURED
    try:
        for path in reversed(prediction_files(folder)):
            if path.name.startswith("before") or path.stat().st_mtime < since:
                continue
            outputs = read_outputs(path, Request(scale=DeclaredScale(1)))
            if any(not np.isnan(truth).all() for truth in outputs.truth.values()):
                return outputs, ""
    except UserError as error:  # no reason to lose the weights
        return None, f"Not measured: {one_line(error)}"
    return None, UNMEASURED


def _use(grammar: Grammar) -> Iterator[str]:
    yield "## Use"
    yield 'With vlcal, `vlcal.load(FOLDER).ask("photo.png", "How many cups are on the table?")`. Without it, ask this:'
    yield _block(grammar.prompt("QUESTION"), "text")
    low, high = grammar.levels[0], grammar.levels[-1]
    yield (
        f"A response ends with two levels out of {', '.join(map(str, grammar.levels))}, between `<vision_confidence>` "
        f"and `<reasoning_confidence>`; level {low} means confidence 0, level {high} means 1, others lie linearly "
        "between. `vlcal.yaml` beside the weights holds all settings by which the run asked and read."
    )


def _figures(outputs: Outputs) -> str:
    """A table of metrics with 95 % intervals from draws of the questions."""
    kinds = list(outputs.confidence)
    found = {kind: metric_estimates(outputs.judged(kind), SHOWN) for kind in kinds}
    unparsed = any(np.isnan(stated).any() for stated in outputs.confidence.values())
    rows = tuple(
        (
            Cell(metric_label(name, WrongAndUnsure(), unparsed)),
            *(estimate_cell(found[kind][name], name) for kind in kinds),
        )
        for name in SHOWN
    )
    written = datetime.fromtimestamp(outputs.path.stat().st_mtime, UTC).date().isoformat()
    note = (
        f"{count(len(outputs.question))} responses to {count(len(set(outputs.question.tolist())))} questions, "
        f"{outputs.path.name} of {written}; in brackets 95 % bootstrap intervals over questions. "
        + "; ".join(f"{kind} is held against {truth}" for kind, truth in outputs.held_against.items())
    )
    return markdown_table(Table("Stated confidences", ("metric", *kinds), rows, notes=(f"{note}.",)), "###")


def _block(text: str, language: str) -> str:
    """Text in a fence that is longer than any within it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
