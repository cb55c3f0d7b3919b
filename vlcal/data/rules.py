"""How the right answer is kept in a data set, and what judges a response against it."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vlcal.errors import UserError
from vlcal.json_rows import cell_text
from vlcal.text.parse import visible
from vlcal.verifiers import ChoiceVerifier, NoVerifier, OptionVerifier, Verifier
from vlcal.verifiers.options import LETTERS, choice

_EMPTY = {"nan", "NaN", "NaT", "<NA>"}  # what pandas makes of an empty cell that becomes a text
_BOXED = re.compile(r"\$*\\(?:boxed|fbox)\s*\{((?:(?!\\boxed|\\fbox).)*)\}\$*", re.DOTALL)


class AnswerKey(NamedTuple):
    """A target, and the verifier of its row; None where the run's own verifier judges it."""

    target: str
    verifier: Verifier | None


class AnswerRule(ABC):
    """From the cell with the right answer to a target and what judges answers against it."""

    @abstractmethod
    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The target of a row and its verifier.

        Args:
            answer: The cell with the answer.
            options: Texts of the options; empty where there are none, or where they stand in the question.
            row: The whole row.

        Raises:
            UserError: If the cell is not what the rule reads.
        """


class AsWritten(AnswerRule):
    """The text of the cell, judged by the verifier of the run."""

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The target, without the box or the answer tags that it may stand in."""
        return AnswerKey(stated(answer), None)


class IfAnswered(AnswerRule):
    """Another rule, and nothing to judge where the cell is empty or the column is not there: for prediction.

    Args:
        rule: Of rows with an answer.
    """

    def __init__(self, rule: AnswerRule) -> None:
        self.rule = rule

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """An empty target without a verdict, or what the rule makes of the answer."""
        if unanswered(answer):
            return AnswerKey("", NoVerifier())
        return self.rule(answer, options, row)


class Verified(AnswerRule):
    """The text of the cell, judged by a verifier that belongs to the data set.

    Args:
        verifier: Judges answers of this data set, whatever the run's own verifier is.
    """

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The target, if the verifier takes it for right itself."""
        target = stated(answer)
        self.verifier.check(target)
        return AnswerKey(target, self.verifier)


class ByLetter(AnswerRule):
    """The letter of the right option.

    Args:
        verifier: Class of the verifier that is made from the options.
    """

    def __init__(self, verifier: type[OptionVerifier] = OptionVerifier) -> None:
        self.verifier = verifier

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The letter; without known options only letters can be right, not their texts."""
        target = stated(answer)
        letter = choice(target).letter
        if letter is None:
            raise UserError(f"the answer must be the letter of an option; got {target!r:.80}.")
        if not options:
            return AnswerKey(target, ChoiceVerifier())
        verifier = self.verifier(options)
        return AnswerKey(LETTERS[verifier.index(target)], verifier)


class ByIndex(AnswerRule):
    """The place of the right option, counted from 0."""

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The letter of that place."""
        written = stated(answer)
        place = re.fullmatch(r"(\d{1,9})(\.0)?", written, re.ASCII)
        if place is None or int(place[1]) >= len(options):
            raise UserError(
                f"the answer must be the place of one of {len(options)} options, from 0; got {written!r:.80}."
            )
        return AnswerKey(LETTERS[int(place[1])], OptionVerifier(options))


class ByText(AnswerRule):
    """The text of the right option.

    Args:
        verifier: Class of the verifier that is made from the options.
    """

    def __init__(self, verifier: type[OptionVerifier] = OptionVerifier) -> None:
        self.verifier = verifier

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The letter of the option with that text."""
        written = stated(answer)
        verifier = self.verifier(options)
        place = verifier.place_of(written)
        if place is None:
            raise UserError(f"the answer must be the text of one of the options {list(options)}; got {written!r:.80}.")
        return AnswerKey(LETTERS[place], verifier)


class WithOptions(AnswerRule):
    """One rule for rows with options, another for rows without.

    Args:
        choice: Of rows with options.
        open_ended: Of rows without.
    """

    def __init__(self, choice: AnswerRule, open_ended: AnswerRule) -> None:
        self.choice = choice
        self.open_ended = open_ended

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """What the rule for such a row says."""
        return (self.choice if options else self.open_ended)(answer, options, row)


class ByColumn(AnswerRule):
    """A rule for each value of a column.

    Args:
        column: Column that tells the rows apart.
        rules: Rule by value.
    """

    def __init__(self, column: str, rules: Mapping[str, AnswerRule]) -> None:
        self.column = column
        self.rules = dict(rules)

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """What the rule for that value says."""
        rule = self.rules.get(str(row.get(self.column)))
        if rule is None:
            raise UserError(f"`{self.column}` must be one of {sorted(self.rules)}; got {row.get(self.column)!r:.80}.")
        return rule(answer, options, row)


class FirstThatReads(AnswerRule):
    """The first of several rules that can read the cell.

    Args:
        rules: From the strictest to the one that reads anything.
    """

    def __init__(self, rules: Sequence[AnswerRule]) -> None:
        if not rules:
            raise UserError("`rules` must hold at least one rule; got none.")
        self.rules = tuple(rules)

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """What the first rule says that does not refuse."""
        for rule in self.rules[:-1]:
            try:
                return rule(answer, options, row)
            except UserError:
                continue
        return self.rules[-1](answer, options, row)


def unanswered(cell: Any) -> bool:
    """Whether a cell is empty: without a visible character, NaN as tables hold it, or the text that stands for NaN."""
    blank = isinstance(cell, str) and (not visible(cell) or cell.strip() in _EMPTY)
    return cell is None or cell != cell or blank


def stated(cell: Any) -> str:
    r"""The answer of a cell as a text, without answer tags and the box around it.

    >>> stated("\\boxed{5}"), stated("<answer> 3 </answer>"), stated(7.0)
    ('5', '3', '7')

    Raises:
        UserError: If the cell holds no text and no finite number, or an empty text.
    """
    if not isinstance(cell, str | int | float) or (isinstance(cell, float) and not math.isfinite(cell)):
        raise UserError(f"the answer must be a text or a number; got {cell!r:.80}.")
    text = cell_text(cell)
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, max(end, 0))
    text = text[start + len("<answer>") : end].strip() if start >= 0 else text
    boxed = _BOXED.fullmatch(text)
    text = boxed[1].strip() if boxed else text
    if unanswered(text):
        raise UserError("the answer must not be empty.")
    return text
