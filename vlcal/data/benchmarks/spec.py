"""What there is to know about a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vlcal.data.records import Ask, Columns, Row, listed, text_of, with_options, without_placeholders
from vlcal.data.rules import AnswerRule

SHOWN = "Answer the question that is shown in the image."


@dataclass(frozen=True)
class BenchmarkSpec:
    """A benchmark, declared.

    Args:
        path: Id on the hub.
        split: Split that is judged; several are joined by `+`.
        layouts: Columns of the copies in circulation, the usual one first; the first that a copy has is used.
        rule: How the right answer is kept, and what judges responses.
        names: Configurations that are joined; None where there is only one.
        ask: From a row to what the policy is asked.
        where: Value that a column must have, by column, where rows of several benchmarks share a table.
        unless: Value of a column, by column, of rows that belong to something else.
        unusable: Values of a column, by column, of the published rows that lack a question or an answer.
        least_images: Fewest images of a row.
        held_out: Share that is held out of a training set, in (0, 1); 0 for sets that are for judging only.
    """

    path: str
    split: str
    layouts: tuple[Columns, ...]
    rule: AnswerRule
    names: tuple[str | None, ...] = (None,)
    ask: Ask = listed
    where: Mapping[str, str] = field(default_factory=dict)
    unless: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    least_images: int = 1
    held_out: float = 0.0

    def wanted(self, row: Row) -> bool:
        """Whether a row belongs to the benchmark."""
        belongs = all(row.get(column) == value for column, value in self.where.items())
        return belongs and not any(row.get(column) == value for column, value in self.unless.items())

    def known_bad(self, row: Row) -> bool:
        """Whether a row is published without a question or an answer."""
        return any(row.get(column) in values for column, values in self.unusable.items())


def shown_in_image(row: Row, columns: Columns, options: tuple[str, ...]) -> str:
    """The same request for all: question and options stand in the image."""
    return f"{SHOWN} Give the letter of the right option."


def in_one_image(row: Row, columns: Columns, options: tuple[str, ...]) -> str:
    """The question and its options, where numbered marks are pictures within the only image, as MATH-V has them."""
    return with_options(without_placeholders(text_of(row, columns.question), images=1), options)


def shown_if_empty(row: Row, columns: Columns, options: tuple[str, ...]) -> str:
    """The question, or a request to read it in the image where the row has none."""
    return listed(row, columns, options) if str(row.get(columns.question) or "").strip() else SHOWN


def with_hint(row: Row, columns: Columns, options: tuple[str, ...]) -> str:
    """The context of ScienceQA before the question."""
    hint = str(row.get("hint") or "").strip()
    asked = listed(row, columns, options)
    return f"Context: {hint}\n{asked}" if hint else asked


def with_option_text(row: Row, columns: Columns, options: tuple[str, ...]) -> str:
    """The options of We-Math, which are one text that has the letters already."""
    return f"{listed(row, columns, options)}\n{text_of(row, 'option').strip()}"
