"""Answers in a few words."""

from __future__ import annotations

import re

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.choice import undecorated
from vlcal.verifiers.exact import normalized


class PhraseVerifier(Verifier):
    """The words of the answer must stand in the target, in a row. The text rule of DynaMath (Zou et al., 2025).

    Whole words only, so that a letter is not found in every word. An answer that says less than the target passes.
    """

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the target holds the words of the answer.

        >>> PhraseVerifier()("Even", "even"), PhraseVerifier()("not even", "even"), PhraseVerifier()("e", "even")
        (1.0, 0.0, 0.0)
        """
        given, wanted = words(answer or ""), words(target)
        starts = range(len(wanted) - len(given) + 1)
        return float(bool(given) and any(wanted[start : start + len(given)] == given for start in starts))


def words(text: str) -> list[str]:
    """The words and numbers of a text without case and punctuation."""
    return re.findall(r"-?\d+(?:[.,]\d+)*|\w+", normalized(undecorated(text)))
