"""Answers to multiple choice questions whose options are known, and to those with several right options."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.choice import choice, undecorated
from vlcal.verifiers.exact import normalized

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_READ = 1000  # characters of an answer that are compared by edit distance: what is longer names no option
_SEPARATED = re.compile(r"\W*\b[A-J]\b(?:\W+(?:and\W+)?\b[A-J]\b)*\W*", re.IGNORECASE)
_JOINED = re.compile(r"\W*[A-J]{2,10}\W*")


class OptionVerifier(Verifier):
    """The answer must name the option whose letter is the target: by its letter, or else by its text.

    A letter decides wherever there is one, unless the whole answer is the text of an option (`C. elegans`).

    Args:
        options: Texts of the options in the order of their letters.
    """

    def __init__(self, options: Sequence[str]) -> None:
        if not 2 <= len(options) <= len(LETTERS):
            raise ValueError(
                f"`options` must be 2 to {len(LETTERS)} texts, since there is a letter for each; got {len(options)}."
            )
        self.options = tuple(options)
        self._texts = tuple(normalized(undecorated(option)) for option in options)

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the answer names the option of the target.

        >>> verifier = OptionVerifier(["a dog", "two cats"])
        >>> verifier("(B)", "B"), verifier("Two cats", "B"), verifier("A. two cats", "B")
        (1.0, 1.0, 0.0)

        Raises:
            ValueError: If the target is not the letter of an option.
        """
        wanted = self.index(target)
        if answer is None or not answer.strip():
            return 0.0
        named = self._named(answer)
        # Compared as texts: which of two equal options is named does not matter.
        return float(named is not None and self._texts[named] == self._texts[wanted])

    def index(self, target: str) -> int:
        """The place of the option that a target means."""
        letter = choice(target).letter
        if letter is None or LETTERS.index(letter) >= len(self.options):
            raise ValueError(
                f"`target` must be the letter of one of the {len(self.options)} options; got {target!r}. "
                "Use a rule that reads a place or a text where the data set gives those."
            )
        return LETTERS.index(letter)

    def _named(self, answer: str) -> int | None:
        plain = normalized(undecorated(answer))
        if len(plain) > 1 and plain in self._texts:
            return self._texts.index(plain)
        letter, text = choice(answer)
        if letter is not None and LETTERS.index(letter) < len(self.options):
            return LETTERS.index(letter)
        return self._texts.index(text) if text in self._texts else self._unnamed(plain)

    def _unnamed(self, answer: str) -> int | None:
        """The option meant by an answer that names none."""
        return None


class NearestOptionVerifier(OptionVerifier):
    """As `OptionVerifier`, but an answer that names no option counts as the one nearest in edit distance.

    The rule of MathVista (Lu et al., 2024). It gives whatever was written a chance to be right by accident.
    """

    def _unnamed(self, answer: str) -> int | None:
        distances = [edit_distance(answer[:_READ], text) for text in self._texts]
        return distances.index(min(distances))


class LetterSetVerifier(Verifier):
    """The answer must name all right options and no other, by letter, in any order."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both sets of letters are the same.

        >>> LetterSetVerifier()("C and A", "A, C"), LetterSetVerifier()("A", "A, C")
        (1.0, 0.0)

        Raises:
            ValueError: If the target names no option.
        """
        wanted = letters(target)
        if not wanted:
            raise ValueError(f"`target` must be letters such as 'A, C' for `LetterSetVerifier`; got {target!r}.")
        return float(letters(answer or "") == wanted)


def letters(written: str) -> frozenset[str]:
    """The letters of options that a text consists of; one letter with its text counts, a sentence does not.

    >>> (
    ...     sorted(letters("(A), (C)")),
    ...     sorted(letters("AC")),
    ...     sorted(letters("B. two cats")),
    ...     sorted(letters("a bad cafe")),
    ... )
    (['A', 'C'], ['A', 'C'], ['B'], [])
    """
    plain = undecorated(written)
    if _SEPARATED.fullmatch(plain):
        return frozenset(re.findall(r"\b[A-J]\b", plain.upper()))
    if _JOINED.fullmatch(plain):
        return frozenset(re.findall(r"[A-J]", plain))
    letter = choice(written).letter
    return frozenset(letter or ())


def edit_distance(one: str, other: str) -> int:
    """Fewest insertions, deletions and substitutions between two texts. Levenshtein (1966).

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(other) + 1))
    for at, left in enumerate(one, 1):
        above, row[0] = row[0], at
        for column, right in enumerate(other, 1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (left != right))
    return row[-1]
