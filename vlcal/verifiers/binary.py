"""Answers to questions of yes or no."""

from __future__ import annotations

import re

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.choice import undecorated

_WORDS = re.compile(r"\b(?:(yes|true)|(no|false))\b", re.IGNORECASE)
_LEADING = re.compile(r"\W*(?:the\s+answer\s+is\W+)?(?:yes|true|no|false)\b", re.IGNORECASE)


def yes_or_no(written: str) -> bool | None:
    """What a text that starts with yes or no says; None where it starts otherwise or says both.

    >>> yes_or_no("Yes, there is."), yes_or_no("**No**"), yes_or_no("yes and no"), yes_or_no("not sure")
    (True, False, None, None)
    """
    plain = undecorated(written)
    if not _LEADING.match(plain):
        return None
    said = {bool(found[1]) for found in _WORDS.finditer(plain)}
    return said.pop() if len(said) == 1 else None


class YesNoVerifier(Verifier):
    """The answer must start with the right one of yes (or true) and no (or false), and not say the other too."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both say yes or both say no.

        >>> YesNoVerifier()("Yes.", "yes"), YesNoVerifier()("maybe", "no")
        (1.0, 0.0)

        Raises:
            ValueError: If the target is neither.
        """
        wanted = yes_or_no(target)
        if wanted is None:
            raise ValueError(f"`target` must be yes or no for `YesNoVerifier`; got {target!r}.")
        return float(yes_or_no(answer or "") is wanted)
