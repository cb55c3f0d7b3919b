"""Confidences that stand in the text of a response."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from vlcal.errors import UserError
from vlcal.evaluation.outputs.column import DeclaredScale, Floats, PlainScale, Scale, number_of
from vlcal.evaluation.outputs.sheet import Sheet
from vlcal.text import Grammar, parse

KINDS = ("overall", "visual", "reasoning")
# A group's name in a pattern, and the kind of confidence it finds.
GROUPS = {"confidence": "overall", "visual": "visual", "reasoning": "reasoning"}


class Statement(ABC):
    """Finds what a response says about its own confidence."""

    @abstractmethod
    def __call__(self, sheet: Sheet, column: str, texts: Sequence[str]) -> dict[str, Floats]:
        """Confidences in [0, 1] by kind, one per text; NaN where a text states none.

        Args:
            sheet: Where the texts are from, for messages.
            column: The column they stand in.
            texts: One per row.
        """


class GrammarStatement(Statement):
    """The two confidences in the form that vlcal asks for.

    Args:
        grammar: The form, with its levels.
    """

    def __init__(self, grammar: Grammar = Grammar()) -> None:
        self.grammar = grammar

    def __call__(self, sheet: Sheet, column: str, texts: Sequence[str]) -> dict[str, Floats]:
        """Visual and reasoning confidence, whatever else is wrong with the text."""
        said = [parse(text, self.grammar) for text in texts]
        return {
            "visual": np.array([response.visual_confidence for response in said]),
            "reasoning": np.array([response.reasoning_confidence for response in said]),
        }


class PatternStatement(Statement):
    """The last match of a regular expression.

    Args:
        pattern: With one or more of the named groups `confidence` (the overall one), `visual` and `reasoning`.
        scale: What the numbers are written on.
    """

    def __init__(self, pattern: str, scale: Scale = PlainScale()) -> None:
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"`pattern` must be a regular expression; got {pattern!r}: {error}.") from error
        if not self.pattern.groupindex or not set(self.pattern.groupindex) <= set(GROUPS):
            raise UserError(
                f"`pattern` must name its groups `confidence`, `visual` or `reasoning`, as in (?P<confidence>[0-9]+); "
                f"got {pattern!r}."
            )
        self.scale = scale

    def __call__(self, sheet: Sheet, column: str, texts: Sequence[str]) -> dict[str, Floats]:
        """Of each group the number in the last match."""
        written = {group: np.full(len(texts), np.nan) for group in self.pattern.groupindex}
        for row, text in enumerate(texts):
            for group, found in self._last(text).items():
                number = number_of(found)
                if number is None or math.isinf(number):
                    why = f"group `{group}` of `--pattern` matched {found!r}, which is no number."
                    raise sheet.refusal(row, column, why)
                written[group][row] = number
        return {GROUPS[group]: values for group, values in self.scale(sheet, written).items()}

    def _last(self, text: str) -> Mapping[str, str | None]:
        last: Mapping[str, str | None] = {}
        for found in self.pattern.finditer(text):
            last = found.groupdict()
        return last


def scale_of(top: int | None) -> Scale:
    """The scale with that top; the one that refuses to guess where none was declared."""
    return PlainScale() if top is None else DeclaredScale(top)
