"""Demonstrated responses to one's own questions: what a warm-up learns the form from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from vlcal.data.bad_rows import BadRows, RefuseBadRows
from vlcal.data.datamodule import VisionQuestions
from vlcal.data.images import ImageSize
from vlcal.data.questions import RunCheck
from vlcal.data.records import Columns, Record, prompts_of
from vlcal.data.sources import Source
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.text import Grammar, parse
from vlcal.text.grammar import OPENING
from vlcal.text.parse import Span
from vlcal.training.sampling import draw_seed
from vlcal.types import DemonstrationBatch, Extras

MOST_WORDS = 24  # of a stand-in


@dataclass(frozen=True)
class DemonstratedForm:
    """From a row to a response in the form.

    The answer is that of the row. What the model sees, concludes and doubts is imitated where a column holds it. Where
    none does, some words of the question stand in its place: they are shown and not imitated, so that the model learns
    which tag follows and keeps its own words. Both confidences are drawn evenly at random: they teach to state one, and
    nothing about which.

    Args:
        grammar: The form of a response.
        vision: Column with what is to be seen in the image; None for a stand-in, as in rows where it is empty.
        reasoning: Column with what follows from that; likewise.
        analysis: Column with what could be wrong; likewise.
        seed: Of what is drawn, and of the order of the rows.
    """

    grammar: Grammar = field(default_factory=Grammar)
    vision: str | None = None
    reasoning: str | None = None
    analysis: str | None = None
    seed: int = 0

    @property
    def columns(self) -> dict[str, str]:
        """The columns by the part that they hold."""
        named = {"vision": self.vision, "reasoning": self.reasoning, "analysis": self.analysis}
        return {part: column for part, column in named.items() if column is not None}

    def demonstrate(self, name: str, question: str, target: str, extras: Extras) -> tuple[str, tuple[Span, ...]]:
        """The response, and the characters of its stand-ins.

        Args:
            name: Of the prompt.
            question: What is asked.
            target: The right answer.
            extras: Further columns of the row.

        Raises:
            UserError: If a part of it would break the form.
        """
        rng = torch.Generator().manual_seed(draw_seed(self.seed, "demonstration", name))
        visual, reasoning = torch.randint(len(self.grammar.levels), (2,), generator=rng).tolist()
        parts, standing_in = {}, []
        for part in ("vision", "reasoning", "analysis"):
            cell = extras.get(self.columns.get(part, ""))
            parts[part] = "" if cell is None else str(cell).strip()
            if not parts[part]:
                parts[part] = _some_words(question, rng)
                standing_in.append(part)
        text = self.grammar.render(
            **parts,
            answer=target,
            visual_level=self.grammar.levels[visual],
            reasoning_level=self.grammar.levels[reasoning],
        )
        if not parse(text, self.grammar).well_formed:
            raise UserError(
                f"a response to demonstrate must be in the form; {text!r:.200} is not. Write "
                f"{', '.join(parts)} and the answer without tags, and braces in pairs."
            )
        starts = {part: text.index(OPENING[part]) + len(OPENING[part]) for part in standing_in}
        return text, tuple((start, start + len(parts[part])) for part, start in starts.items())


class Demonstrations(VisionQuestions):
    """Questions from files or the hub as in `VisionQuestions`, each with a response to imitate: for `SupervisedModule`.

    Args:
        train: What to learn from.
        validation: What the loss is validated on.
        batch_size: Prompts a step.
        workers: Processes that decode images, at most one for each processor; 0 decodes in the main one.
        image_size: Bounds on the pixels of an image.
        bad_rows: What happens to rows that are not what they should be.
        form: From a row to a response.
    """

    @fresh_defaults
    def __init__(
        self,
        train: Source | None = None,
        validation: Source | None = None,
        batch_size: int = 8,
        workers: int = 0,
        image_size: ImageSize = ImageSize(),
        bad_rows: BadRows = RefuseBadRows(),
        form: DemonstratedForm = DemonstratedForm(),
    ) -> None:
        super().__init__(train, validation, batch_size, workers, form.seed, image_size, bad_rows)
        self.form = form

    def check(self) -> RunCheck:
        """What is asked of a row: a response that keeps to the form as well."""
        return DemonstrationCheck(self.image_size, form=self.form)

    def collate(self) -> Callable[[Sequence[Record]], DemonstrationBatch]:
        """Makes a batch of rows, with a response to imitate each."""
        return partial(_demonstrated, size=self.image_size, form=self.form)


@dataclass(frozen=True)
class DemonstrationCheck(RunCheck):
    """What a warm-up asks of a record.

    Args:
        form: From a row to a response.
    """

    form: DemonstratedForm = field(default_factory=DemonstratedForm)

    def __call__(self, record: Record) -> None:
        """Nothing, if the record can be demonstrated."""
        super().__call__(record)
        self.form.demonstrate(record.name, record.question, record.target, record.extras)

    def needed(self, columns: Columns) -> tuple[str, ...]:
        """The columns that a table must have: those of the form as well."""
        return (*columns.names, *self.form.columns.values())


def _demonstrated(records: Sequence[Record], size: ImageSize, form: DemonstratedForm) -> DemonstrationBatch:
    prompts = prompts_of(records, size)
    rows = zip(prompts.ids, prompts.questions, prompts.targets, prompts.extras, strict=True)
    told = [form.demonstrate(*row) for row in rows]
    return DemonstrationBatch(prompts, tuple(text for text, _ in told), tuple(given for _, given in told))


def _some_words(text: str, rng: torch.Generator) -> str:
    """The first words of a text, so many as are drawn."""
    words = text.replace("<", " ").split()[:MOST_WORDS] or ["this"]
    return " ".join(words[: 1 + int(torch.randint(len(words), (), generator=rng))])
