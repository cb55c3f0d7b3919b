"""What is asked about a number of three digits, from reading alone to arithmetic without a written step.

A kind knows how to put the question, how to reason about it and what follows, from ANY reading: so a response can be
judged by the truth and, apart from that, by what it claims to have read. Every answer depends on every digit, so that
`P(answer right) = P(reading right) P(conclusion right | reading)` but for luck. A small model learns the kinds to
different degrees, which leaves a reasoning confidence something to tell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


class QuestionKind(ABC):
    """One kind of question about three digits.

    Args:
        operands: Numbers, one of which is drawn for each question; 0 alone where a kind takes none.
    """

    def __init__(self, operands: Sequence[int] = (0,)) -> None:
        self.operands = tuple(operands)

    @abstractmethod
    def ask(self, operand: int) -> str:
        """The question."""

    @abstractmethod
    def reason(self, digits: Sequence[int], operand: int) -> str:
        """The reasoning that leads from the digits to the answer."""

    @abstractmethod
    def answer(self, digits: Sequence[int], operand: int) -> str:
        """The answer that follows from the digits."""


class Read(QuestionKind):
    """Reading alone."""

    def ask(self, operand: int) -> str:
        """Ask for the number."""
        return "What is the number?"

    def reason(self, digits: Sequence[int], operand: int) -> str:
        """Repeat the digits."""
        return _written(digits)

    def answer(self, digits: Sequence[int], operand: int) -> str:
        """The digits themselves."""
        return _written(digits)


class Sum(QuestionKind):
    """Arithmetic in two written steps, all additions."""

    def ask(self, operand: int) -> str:
        """Ask for the sum of the digits."""
        return "What is the sum of the digits?"

    def reason(self, digits: Sequence[int], operand: int) -> str:
        """Add the second, then the third."""
        first, second, third = digits
        return f"{first}+{second}={first + second},{first + second}+{third}={sum(digits)}"

    def answer(self, digits: Sequence[int], operand: int) -> str:
        """The sum."""
        return str(sum(digits))


class SumThenDifference(QuestionKind):
    """Arithmetic in two written steps: add two digits, then take the third away."""

    def ask(self, operand: int) -> str:
        """Ask for both steps."""
        return "What is the first plus the second minus the third digit?"

    def reason(self, digits: Sequence[int], operand: int) -> str:
        """Add, then subtract."""
        first, second, third = digits
        return f"{first}+{second}={first + second},{first + second}-{third}={self.answer(digits, operand)}"

    def answer(self, digits: Sequence[int], operand: int) -> str:
        """What is left; may be negative."""
        first, second, third = digits
        return str(first + second - third)


class Chain(QuestionKind):
    """Arithmetic in four written steps."""

    def ask(self, operand: int) -> str:
        """Ask for all steps."""
        return "What is twice the sum of the digits minus the first digit?"

    def reason(self, digits: Sequence[int], operand: int) -> str:
        """Add, add, double, subtract."""
        first, second, third = digits
        total = sum(digits)
        return (
            f"{first}+{second}={first + second},{first + second}+{third}={total},"
            f"{total}+{total}={2 * total},{2 * total}-{first}={self.answer(digits, operand)}"
        )

    def answer(self, digits: Sequence[int], operand: int) -> str:
        """The result of the last step."""
        return str(2 * sum(digits) - digits[0])


class Times(QuestionKind):
    """A product with carries, without a written step."""

    def __init__(self) -> None:
        super().__init__((4, 7))

    def ask(self, operand: int) -> str:
        """Ask for the product."""
        return f"What is the number times {operand}?"

    def reason(self, digits: Sequence[int], operand: int) -> str:
        """The product, at once."""
        return f"{_written(digits)}*{operand}={self.answer(digits, operand)}"

    def answer(self, digits: Sequence[int], operand: int) -> str:
        """The product."""
        return str(_number(digits) * operand)


class Remainder(QuestionKind):
    """A remainder, without a written step."""

    def __init__(self) -> None:
        super().__init__((7, 9, 11))

    def ask(self, operand: int) -> str:
        """Ask for the remainder."""
        return f"What is left of the number divided by {operand}?"

    def reason(self, digits: Sequence[int], operand: int) -> str:
        """The remainder, at once."""
        return f"{_written(digits)}%{operand}={self.answer(digits, operand)}"

    def answer(self, digits: Sequence[int], operand: int) -> str:
        """The remainder."""
        return str(_number(digits) % operand)


QUESTION_KINDS: dict[str, QuestionKind] = {
    "read": Read(),
    "sum": Sum(),
    "sum_then_difference": SumThenDifference(),
    "chain": Chain(),
    "times": Times(),
    "remainder": Remainder(),
}


@dataclass(frozen=True)
class Question:
    """A question of one kind; `operand` is the number it names, 0 where it names none."""

    kind: str
    operand: int = 0

    @property
    def text(self) -> str:
        """The question as the policy sees it."""
        return QUESTION_KINDS[self.kind].ask(self.operand)

    def reason(self, reading: Sequence[int]) -> str:
        """The reasoning from a reading."""
        return QUESTION_KINDS[self.kind].reason(reading, self.operand)

    def answer(self, reading: Sequence[int]) -> str:
        """The answer that follows from a reading."""
        return QUESTION_KINDS[self.kind].answer(reading, self.operand)


def _written(digits: Sequence[int]) -> str:
    return "".join(map(str, digits))


def _number(digits: Sequence[int]) -> int:
    return int(_written(digits))
