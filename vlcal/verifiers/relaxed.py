"""Answers about charts: numbers read off an axis, or labels."""

from __future__ import annotations

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.exact import normalized
from vlcal.verifiers.numeric import number


class RelaxedVerifier(Verifier):
    """Numbers may be off by a share of the target, a percentage being a hundredth; anything else must be the same text.

    The relaxed accuracy of ChartQA (Masry et al., 2022). Years are numbers to it: 2010 passes for 2015. `5%` is 0.05,
    and so not 5.

    Args:
        tolerance: Largest gap that still counts, as a share of the target.
    """

    def __init__(self, tolerance: float = 0.05) -> None:
        if not tolerance >= 0:
            raise ValueError(f"`tolerance` must be 0 or more, since it bounds a distance; got {tolerance}.")
        self.tolerance = tolerance

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the answer is near enough, or the same text but for case and white space.

        >>> RelaxedVerifier()("10.4", "10"), RelaxedVerifier()("50%", "0.5"), RelaxedVerifier()("Red", "red")
        (1.0, 1.0, 1.0)
        """
        if answer is None:
            return 0.0
        given, wanted = share(answer), share(target)
        if given is None or wanted is None:
            return float(normalized(answer) == normalized(target) != "")
        return float(abs(given - wanted) <= self.tolerance * abs(wanted))


def share(text: str) -> float | None:
    """The number a text consists of, divided by a hundred where it ends in a percent sign; None where it is none.

    >>> share("50%"), share("1,200"), share("red")
    (0.5, 1200.0, None)
    """
    plain = text.strip().strip("$").strip()
    if not plain.endswith("%"):
        return number(plain)
    found = number(plain.removesuffix("%").removesuffix("\\"))
    return None if found is None else found / 100
