"""`vlcal init`: from a folder or file of one's own questions to a config that trains on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vlcal.errors import UserError
from vlcal.files import write_whole

if TYPE_CHECKING:
    from vlcal.data.inspection import Inspection

RECIPES = ("consumer", "warmup")
STEPS, MOST_EPOCHS = 200, 10  # so many steps a small table is repeated for, and so often at most
JUDGED, MOST_SHARE, LEAST_SHARE = 500, 0.2, 0.02  # questions to hold out; as a share of the table at most and at least
MEASURED = 256  # prompts whose length is taken
RISK = 0.1  # of the example


def init(
    path: Path,
    /,
    *,
    model: str | None = None,
    output: Path = Path("experiment.yaml"),
    question: str | None = None,
    answer: str | None = None,
    images: str | None = None,
    recipe: str = "consumer",
    adapter: Path | None = None,
) -> None:
    """Look at a folder or file of questions about images, write a config for it, and say what was assumed.

    Args:
        path: CSV, JSON Lines, JSON or parquet with a question, an answer and an image in each row; or a folder with one
            such table, or with one named train and one named validation. Paths of images are relative to the table.
        model: Checkpoint to train, a folder or a name on the hub; its processor then measures the prompts. Left out,
            that of the recipe.
        output: The config, which must be new.
        question: Column with the question, where its name is unusual.
        answer: Column with the right answer, where its name is unusual.
        images: Column with the image or images, where its name is unusual.
        recipe: What the config trains: consumer, calibrated confidences; warmup, the form of a response, for a model
            that does not keep to it.
        adapter: Folder of an adapter to go on from, such as runs/warmup/adapter.

    Raises:
        UserError: If the table or the adapter cannot be read, or the config is there already.
    """
    from rich.console import Console

    from vlcal.data.inspection import find_tables, inspect_table

    if output.exists():
        raise UserError(f"`output` must be new; {output} is there already. Name another one, or remove it.")
    if recipe not in RECIPES:
        raise UserError(f"`recipe` must be one of {', '.join(RECIPES)}; got {recipe!r}.")
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise UserError(f"`adapter` must be the folder of an adapter; {adapter} has no adapter_config.json.")
    named = {"question": question, "answer": answer, "images": images}
    tables = [inspect_table(table, named) for table in find_tables(path) if table is not None]
    experiment = Experiment(output, tables, Start(recipe, model, adapter))
    write_whole(output, experiment.text)
    Console(soft_wrap=True, highlight=False).out("\n".join(experiment.findings), highlight=False)


@dataclass(frozen=True)
class Start:
    """What an experiment starts from.

    Args:
        recipe: Everything that it does not say itself.
        model: Checkpoint to train; None for that of the recipe.
        adapter: Folder of an adapter to go on from; None for a fresh one.
    """

    recipe: str
    model: str | None
    adapter: Path | None

    @property
    def warms_up(self) -> bool:
        """Whether the form of a response is taught, and no confidence."""
        return self.recipe == "warmup"

    @property
    def policy(self) -> Iterator[str]:
        """The settings of the policy, as lines of YAML."""
        if self.model is not None or self.adapter is not None:
            yield from ("policy:", "  init_args:")
        if self.model is not None:
            yield f"    path: {_flow(self.model)}"
        if self.adapter is not None:
            yield f"    adaptation: {{init_args: {{adapter: {_flow(str(self.adapter))}}}}}"


@dataclass(frozen=True)
class Experiment:
    """The config of an experiment on tables that were inspected.

    Args:
        path: Where it is written.
        tables: The one to learn from, and the one to be judged on where there are two.
        start: What it starts from.
    """

    path: Path
    tables: list[Inspection]
    start: Start

    @property
    def text(self) -> str:
        """The file."""
        lines = [
            *(f"# {line}" for line in self.findings),
            f"recipe: {self.start.recipe} # everything that is not said below",
        ]
        lines += ["trainer:", f"  default_root_dir: {_flow(str(self.run))}", f"  max_epochs: {self.epochs}"]
        lines += [*self._model(), "data:", "  init_args:", *(f"    {line}" for line in self._data())]
        return "\n".join(lines) + "\n"

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return Path("runs") / self.path.stem

    @property
    def share(self) -> float:
        """Share of the rows to hold out, if there is no table to be judged on."""
        return round(min(MOST_SHARE, max(JUDGED / len(self.tables[0].questions), LEAST_SHARE)), 2)

    @property
    def epochs(self) -> int:
        """How often the rows are learned from."""
        from vlcal.inference.run_config import RunConfig
        from vlcal.recipe import RECIPES as FOLDER

        learned = len(self.tables[0].questions) * (1 - self.share if len(self.tables) == 1 else 1)
        steps = math.ceil(
            learned / int(RunConfig(FOLDER / f"{self.start.recipe}.yaml").part("data.init_args.batch_size"))
        )
        return max(1, min(MOST_EPOCHS, STEPS // steps))

    @cached_property
    def findings(self) -> list[str]:
        """What was seen and assumed, and the commands that follow."""
        seen = [line for table in self.tables for line in _seen(table)]
        if len(self.tables) == 1:
            by = self.tables[0].drawn_by(self.share)
            seen.append(
                f"Assumed {self.share:.0%} of them are held out for validation, drawn by {by or 'the question'}."
            )
        if self.start.model is not None:
            seen.append(_prompt_lengths(self.tables[0], self.start.model))
        if self.start.warms_up:
            model = "" if self.start.model is None else f" --model {self.start.model}"
            told = ", ".join(self._told) or "none: words of the question stand in for what is seen and concluded"
            return [
                *seen,
                f"Assumed columns with what is seen, concluded and doubted: {told}.",
                f"Train   vlcal fit --config {self.path}",
                f"Then    vlcal init {self.tables[0].path}{model} --output NEW.yaml --adapter {self.run}/adapter",
            ]
        return [
            *seen,
            f"Check   vlcal doctor --config {self.path} --memory 8",
            f"Train   vlcal fit --config {self.path}",
            f"Ask     vlcal ask IMAGE QUESTION --model {self.run}{self._decision}",
        ]

    @property
    def _decision(self) -> str:
        """Options by which `ask` decides to answer or to abstain, where enough questions are held out to guarantee."""
        from vlcal.evaluation.metrics.selective import fewest_questions

        table = self.tables[-1]
        judged = len(table.questions) * (self.share if len(self.tables) == 1 else 1)
        return f" --risk {RISK} --validation {self.run}/validation.jsonl" if judged >= fewest_questions(RISK) else ""

    @property
    def _told(self) -> list[str]:
        """The columns of the table with what a response is to say beside the answer."""
        present = self.tables[0].questions.table[0]
        return [part for part in ("vision", "reasoning", "analysis") if part in present]

    def _model(self) -> Iterator[str]:
        """Checkpoint and adapter, and the verifier where the rule of the answers brings none."""
        lines = [*self.start.policy]
        verifier = self.tables[0].answers.verifier
        if verifier is not None and not self.start.warms_up:
            lines += ["pipeline:", "  init_args:", "    reader:", "      init_args:"]
            lines += [f"        verifier: {{class_path: vlcal.verifiers.{verifier.__name__}}}"]
        yield from ("model:", "  init_args:", *(f"    {line}" for line in lines)) if lines else ()

    def _data(self) -> Iterator[str]:
        """The sources: two tables, or two sides of one; columns to imitate where the form is taught."""
        if self.start.warms_up and self._told:
            yield f"form: {_flow({part: part for part in self._told})}"
        if len(self.tables) == 2:
            for side, table in zip(("train", "validation"), self.tables, strict=True):
                yield f"{side}: {_flow(_source(table))}"
            return
        (table,) = self.tables
        by = table.drawn_by(self.share)
        drawn = f"share: {self.share}" + (f", by: {_flow(by)}" if by else "")
        for side, kind, source in (
            ("train", "Remaining", f"&table {_flow(_source(table))}"),
            ("validation", "HeldOut", "*table"),
        ):
            yield from (
                f"{side}:",
                f"  class_path: vlcal.data.{kind}",
                "  init_args:",
                f"    source: {source}",
                *(f"    {one}" for one in drawn.split(", ")),
            )


def _source(table: Inspection) -> dict[str, Any]:
    columns = table.columns
    named: dict[str, Any] = {"question": columns.question, "answer": columns.answer, "images": list(columns.images)}
    named |= {"options": columns.options} if columns.options else {}
    settings: dict[str, Any] = {"path": str(table.path), "columns": named}
    if table.answers.verifier is None:
        settings["rule"] = {"class_path": f"vlcal.data.{table.answers.rule.__name__}"}
    return {"class_path": f"vlcal.data.{table.source.__name__}", "init_args": settings}


def _seen(table: Inspection) -> Iterator[str]:
    """What a table holds and what was assumed of it."""
    columns, questions = table.columns, table.questions
    smallest, largest = (choose(table.sizes, key=math.prod, default=(0, 0)) for choose in (min, max))
    yield (
        f"Seen    {table.path}: {len(questions)} rows, {len(set(questions.texts))} different questions, "
        f"{len(table.sizes)} images of {_span(smallest, largest)} pixels."
    )
    if questions.left_out:
        yield f"Seen    {len(questions.left_out)} rows cannot be used, the first: {questions.left_out[0]}"
    named = ", ".join(columns.names)
    yield f"Assumed columns {named}; every answer is {table.answers.kind}."


def _span(smallest: tuple[int, ...], largest: tuple[int, ...]) -> str:
    """Width and height, or the range of both.

    >>> _span((96, 32), (96, 32)), _span((96, 32), (640, 480))
    ('96 x 32', '96 x 32 to 640 x 480')
    """
    return " to ".join(dict.fromkeys(" x ".join(map(str, size)) for size in (smallest, largest)))


def _prompt_lengths(table: Inspection, model: str) -> str:
    """The longest prompt, as the processor of the checkpoint makes it."""
    from transformers import AutoConfig

    from vlcal.data.records import prompts_of
    from vlcal.policy import PolicySpec
    from vlcal.policy.memory.lengths import PromptRuler
    from vlcal.text import Grammar

    spec = PolicySpec(model)
    processor = spec.processor()
    with spec.reading():
        image_token = AutoConfig.from_pretrained(model, **spec.source).image_token_id
    ruler, rows = PromptRuler(processor, image_token, Grammar()), range(min(MEASURED, len(table.questions)))
    (longest,) = ruler.longest((prompts_of([table.questions[row]]) for row in rows), 1)
    length = ruler.length(longest)
    tokens, of_images = length.tokens, length.image_tokens
    return f"Seen    prompts of at most {tokens} tokens, {of_images} of them of images, in {len(rows)} rows."


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    written: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf)
    return written.removesuffix("...\n").strip()
