"""Questions with more than one right answer."""

from __future__ import annotations

from collections.abc import Sequence

from vlcal.verifiers.base import Verifier


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
        return max(self.verifier(answer, wanted) for wanted in (target, *self.others))
