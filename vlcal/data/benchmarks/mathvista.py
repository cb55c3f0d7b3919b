"""MathVista (Lu et al., 2024): each row says of which kind its answer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from vlcal.data.records import Columns, Row, question_of, with_options
from vlcal.data.rules import AnswerKey, AnswerRule, ByText, Verified
from vlcal.errors import UserError
from vlcal.verifiers import (
    ExactVerifier,
    ListVerifier,
    NearestOptionVerifier,
    RoundedVerifier,
    TruncatedVerifier,
    Verifier,
)


class AnswerKind(ABC):
    """An `answer_type`: how such an answer is asked for, and what judges it.

    Args:
        digits: Decimal places of the answer; None where the row does not say.
    """

    def __init__(self, digits: int | None) -> None:
        self.digits = digits

    @property
    def request(self) -> str:
        """The line that asks for the kind; empty where none is needed."""
        return ""

    @property
    @abstractmethod
    def verifier(self) -> Verifier:
        """Judges answers of this kind."""


class Integer(AnswerKind):
    """A whole number; what comes behind the point of an answer is cut off."""

    request = "Answer with a whole number."
    verifier = TruncatedVerifier()


class Decimal(AnswerKind):
    """A number that is rounded as the row says."""

    @property
    def request(self) -> str:
        """Names the decimal places."""
        if self.digits is None:
            return ""
        return f"Answer with a number of {self.digits} decimal place{'s' if self.digits != 1 else ''}."

    @property
    def verifier(self) -> Verifier:
        """Two decimal places where the row does not say."""
        return RoundedVerifier(2 if self.digits is None else self.digits)


class List(AnswerKind):
    """Several numbers or texts."""

    request = "Answer with a list in Python, such as [1, 2, 3]."
    verifier = ListVerifier()


class Text(AnswerKind):
    """A text, word for word."""

    verifier = ExactVerifier()


KINDS: Mapping[str, type[AnswerKind]] = {"integer": Integer, "float": Decimal, "list": List, "text": Text}


def _kind(row: Row) -> AnswerKind:
    name, digits = row.get("answer_type"), row.get("precision")
    kind = KINDS.get(str(name))
    if kind is None:
        raise UserError(f"`answer_type` must be integer, float, list or text; got {name!r:.80}.")
    return kind(None if digits is None else int(digits))


class MathVistaRule(AnswerRule):
    """Options by letter, by text or else by the nearest text; other answers by their kind.

    The answer is read from the response in place of a language model's extract of it.
    """

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The target and the verifier of its kind."""
        rule = ByText(NearestOptionVerifier) if options else Verified(_kind(row).verifier)
        return rule(answer, options, row)


def with_precision(row: Row, columns: Columns, options: tuple[str, ...]) -> str:
    """The question with its unit, and with its options or the kind of answer that it asks for."""
    question = question_of(row, columns)
    unit = str(row.get("unit") or "").strip()
    asked = f"{question} (Unit: {unit})" if unit else question
    if options:
        return with_options(asked, options)
    return "\n".join(filter(None, (asked, _kind(row).request)))
