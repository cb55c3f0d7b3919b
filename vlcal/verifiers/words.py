"""Answers in words: a text, a part of one, yes or no."""

from __future__ import annotations

import re

from vlcal.errors import UserError
from vlcal.verifiers.base import Verifier
from vlcal.verifiers.reading import LONGEST, cleaned, folded, without_lead

_LETTERED = re.compile(r"[(\[]?[A-J][)\].:]+\s*(?=(?:yes|no|true|false)\b)", re.IGNORECASE)
_FIRST = re.compile(r"(?:(yes|true)|(no|false))\b", re.IGNORECASE)
# What takes back a no or a yes: the other of them, next or last. `Yes, no other cat` does not say no: a noun follows.
_OPPOSITE = (
    re.compile(r"\W+(?:(?:and|or)\b\W*)?(?:yes|true)\b", re.IGNORECASE),
    re.compile(r"\W+(?:(?:and|or)\b\W*)?(?:no|false)\b(?!\s+\w)", re.IGNORECASE),
)
_LAST = (re.compile(r"\b(?:yes|true)\W*\Z", re.IGNORECASE), re.compile(r"\b(?:no|false)\W*\Z", re.IGNORECASE))


class ExactVerifier(Verifier):
    """The answer must be the target, word for word; case, white space, emphasis and one full stop do not matter."""

    def __call__(self, answer: str | None, target: str) -> float:
        r"""1 where both texts are the same.

        >>> ExactVerifier()(r"\text{Blue}.", "blue"), ExactVerifier()("light blue", "blue")
        (1.0, 0.0)
        """
        return float(answer is not None and folded(answer) == folded(target) != "")


class PhraseVerifier(Verifier):
    """The words of the answer must stand in the target, in a row. The text rule of DynaMath (Zou et al., 2025).

    Whole words only, so that a letter is not found in every word. An answer that says less than the target passes.
    """

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the target holds the words of the answer.

        >>> PhraseVerifier()("Even", "even"), PhraseVerifier()("not even", "even"), PhraseVerifier()("e", "even")
        (1.0, 0.0, 0.0)
        """
        given, wanted = _words(answer or ""), _words(target)
        starts = range(len(wanted) - len(given) + 1)
        return float(bool(given) and any(wanted[start : start + len(given)] == given for start in starts))


def _words(text: str) -> list[str]:
    """The words and numbers of a text without case and punctuation."""
    return re.findall(r"-?\d+(?:[.,]\d+)*|\w+", folded(text))


class YesNoVerifier(Verifier):
    """The answer must start with the right one of yes (or true) and no (or false), and not say the other too."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both say yes or both say no.

        >>> YesNoVerifier()("Yes, there is no other cat.", "yes"), YesNoVerifier()("maybe", "no")
        (1.0, 0.0)

        Raises:
            UserError: If the target is neither.
        """
        wanted = yes_or_no(target)
        if wanted is None:
            raise UserError(f"`target` must be yes or no for `YesNoVerifier`; got {target!r}.")
        return float(yes_or_no(answer or "") is wanted)


def yes_or_no(written: str) -> bool | None:
    """What a text that starts with yes or no says; None where it starts otherwise or says both.

    >>> yes_or_no("A. Yes"), yes_or_no("**No**, there is."), yes_or_no("yes and no"), yes_or_no("not sure")
    (True, False, None, None)
    """
    plain = without_lead(cleaned(written[:LONGEST])).lstrip("\"'([ ")
    lettered = _LETTERED.match(plain)
    first = _FIRST.match(plain, lettered.end() if lettered else 0)
    if first is None:
        return None
    said = bool(first[1])
    opposite = _OPPOSITE[said]
    if opposite.match(plain, first.end()) or _LAST[said].search(plain[max(first.end(), len(plain) - 20) :]):
        return None
    return said
