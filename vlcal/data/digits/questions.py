"""What is asked about a row of digits, from reading alone to arithmetic in two steps.

A kind knows how to put the question, how to reason about it and what follows, from ANY reading: so a response can be
judged by the truth and, apart from that, by what it claims to have read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

PLACES = ("first", "second", "third", "fourth", "fifth")


class QuestionKind(ABC):
    """One kind of question about `places` of the digits."""

    places: int

    @abstractmethod
    def ask(self, where: Sequence[str]) -> str:
        """The question about the digits at these places: first, second, ..."""

    @abstractmethod
    def reason(self, digits: Sequence[int]) -> str:
        """The reasoning that leads from the digits concerned to the answer."""

    @abstractmethod
    def answer(self, digits: Sequence[int]) -> str:
        """The answer that follows from the digits concerned."""


class Read(QuestionKind):
    """Reading alone: name one digit."""

    places = 1

    def ask(self, where: Sequence[str]) -> str:
        """Ask for one digit."""
        return f"What is the {where[0]} digit?"

    def reason(self, digits: Sequence[int]) -> str:
        """Repeat the digit."""
        return f"{digits[0]}"

    def answer(self, digits: Sequence[int]) -> str:
        """The digit itself."""
        return str(digits[0])


class Larger(QuestionKind):
    """Comparison: the larger of two digits."""

    places = 2

    def ask(self, where: Sequence[str]) -> str:
        """Ask for the larger one."""
        return f"Which is larger, the {where[0]} or the {where[1]} digit?"

    def reason(self, digits: Sequence[int]) -> str:
        """Compare the two."""
        first, second = digits
        return f"{first}{'<' if first < second else '>' if first > second else '='}{second}"

    def answer(self, digits: Sequence[int]) -> str:
        """The larger digit."""
        return str(max(digits))


class Sum(QuestionKind):
    """Arithmetic in one step: the sum of two digits."""

    places = 2

    def ask(self, where: Sequence[str]) -> str:
        """Ask for the sum."""
        return f"What is the {where[0]} plus the {where[1]} digit?"

    def reason(self, digits: Sequence[int]) -> str:
        """Add."""
        return f"{digits[0]}+{digits[1]}={self.answer(digits)}"

    def answer(self, digits: Sequence[int]) -> str:
        """The sum."""
        return str(sum(digits))


class SumThenDifference(QuestionKind):
    """Arithmetic in two steps: add two digits, then take the third away."""

    places = 3

    def ask(self, where: Sequence[str]) -> str:
        """Ask for both steps."""
        return f"What is the {where[0]} plus the {where[1]} minus the {where[2]} digit?"

    def reason(self, digits: Sequence[int]) -> str:
        """Add, then subtract."""
        first, second, third = digits
        return f"{first}+{second}={first + second},{first + second}-{third}={self.answer(digits)}"

    def answer(self, digits: Sequence[int]) -> str:
        """What is left; may be negative."""
        first, second, third = digits
        return str(first + second - third)


QUESTION_KINDS: dict[str, QuestionKind] = {
    "read": Read(),
    "larger": Larger(),
    "sum": Sum(),
    "sum_then_difference": SumThenDifference(),
}


@dataclass(frozen=True)
class Question:
    """A question of one kind about certain places of a scene, counted from 0."""

    kind: str
    where: tuple[int, ...]

    @property
    def text(self) -> str:
        """The question as the policy sees it."""
        return QUESTION_KINDS[self.kind].ask([PLACES[place] for place in self.where])

    def reason(self, reading: Sequence[int]) -> str:
        """The reasoning from a reading of all digits."""
        return QUESTION_KINDS[self.kind].reason([reading[place] for place in self.where])

    def answer(self, reading: Sequence[int]) -> str:
        """The answer that follows from a reading of all digits."""
        return QUESTION_KINDS[self.kind].answer([reading[place] for place in self.where])
