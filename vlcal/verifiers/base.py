"""Whether an answer is right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from vlcal.errors import UserError
from vlcal.types import AnswerVerifier

_THREADS = 16  # that wait for the algebra at a time, as many as it works at


class Verifier(ABC):
    """Whether the answer of a response is right: what accuracy is made of and every confidence is scored against.

    A verifier reads whatever a policy wrote: no answer, however odd, may make it raise or hang.
    """

    @abstractmethod
    def __call__(self, answer: str | None, target: str) -> float:
        """How right the answer is, in [0, 1]; 0 where there is none."""

    def check(self, target: str) -> None:
        """Refuse a target that cannot be judged: no answer would be right where the target itself is not.

        Raises:
            UserError: If it cannot.
        """
        if self(target, target) != 1:
            raise UserError(f"the answer must be right by `{type(self).__name__}` itself; got {target!r:.80}.")


def verdicts(cases: Sequence[tuple[AnswerVerifier, str | None, str]]) -> list[float]:
    """The verdicts of answers that have a verifier each; equal cases are judged once.

    Those that wait for a comparison of expressions do so at the same time.
    """
    keys = [(id(verifier), answer, target) for verifier, answer, target in cases]
    unique = dict(zip(keys, cases, strict=True))
    with ThreadPoolExecutor(_THREADS) as pool:
        judged = dict(zip(unique, pool.map(lambda case: case[0](*case[1:]), unique.values()), strict=True))
    return [judged[key] for key in keys]


class NoVerifier(Verifier):
    """Nothing counts as right: for runs in which no reward and no metric asks for a verdict."""

    def __call__(self, answer: str | None, target: str) -> float:
        """0, always: a verdict is a number in [0, 1], and an unchecked answer is not a right one."""
        return 0.0

    def check(self, target: str) -> None:
        """Nothing is judged, whatever the target."""


class AnyTarget(Verifier):
    """The answer must be right for the target or for one of the others that count as well.

    Args:
        verifier: Judges the answer against each.
        others: What counts beside the target.
    """

    def __init__(self, verifier: Verifier, others: Sequence[str]) -> None:
        self.verifier = verifier
        self.others = tuple(others)

    def __call__(self, answer: str | None, target: str) -> float:
        """The best of all verdicts."""
        return max(verdicts([(self.verifier, answer, wanted) for wanted in (target, *self.others)]))

    def check(self, target: str) -> None:
        """Refuse a target or one of the others that cannot be judged."""
        for wanted in (target, *self.others):
            self.verifier.check(wanted)
