"""Whether an answer is right."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Verifier(ABC):
    """Whether the answer of a response is right: what accuracy is made of and every confidence is scored against.

    A verifier reads whatever a policy wrote: no answer, however odd, may make it raise or hang.
    """

    @abstractmethod
    def __call__(self, answer: str | None, target: str) -> float:
        """How right the answer is, in [0, 1]; 0 where there is none."""


class NoVerifier(Verifier):
    """Nothing counts as right: for runs in which no reward and no metric asks for a verdict."""

    def __call__(self, answer: str | None, target: str) -> float:
        """0, always: a verdict is a number in [0, 1], and an answer nobody checked has not been found right."""
        return 0.0
