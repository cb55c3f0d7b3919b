"""Answers to multiple choice questions, and to those with several right options."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vlcal.errors import UserError
from vlcal.verifiers.base import Verifier
from vlcal.verifiers.reading import LONGEST, cleaned, folded, without_lead
from vlcal.verifiers.typed import number

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_UNLISTED = LETTERS[:10]  # the letters there can be where the options are not known
_READ = 1000  # characters of an answer that are compared by edit distance: what is longer names no option
_CHOICE = re.compile(
    r"(?:\(([A-Z])\)[.:,]?|\[([A-Z])\][.:,]?"
    # A point behind it that is not that of an abbreviation, such as B.C.
    r"|([A-Z])(?:[):]+|\.(?![A-Z]\.)|,(?=\s)|\s-\s|\s(?=\([^()]*\)$)|$))\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
# Another letter behind the first: both are named, and so none.
_ANOTHER = re.compile(
    r".*\s[A-J]\)(?:\s.*)?"
    r"|(?:[,;/&]|\b(?:and|or)\b|\s)*(?:[(\[][A-J][)\]]|[A-J][):.,]|(?:and|or|[,/&])\s*[A-J](?=\W|$)).*",
    re.IGNORECASE,
)
_SEPARATED = re.compile(r"\W*\b[A-J]\b(?:\W+(?:and\W+)?\b[A-J]\b)*\W*", re.IGNORECASE)
_JOINED = re.compile(r"\W*[A-J]{2,10}\W*")


class Choice(NamedTuple):
    """One option as it is written: its letter, its text, or both."""

    letter: str | None
    text: str


def choice(written: str, letters: str = _UNLISTED) -> Choice:
    r"""The letter and the text in the many ways an option is written.

    Args:
        written: The option as text.
        letters: The letters there are.

    >>> choice("**(b)** Two cats"), choice(r"\text{C}"), choice("a cat"), choice("A) or B)").letter
    (Choice(letter='B', text='Two cats'), Choice(letter='C', text=''), Choice(letter=None, text='a cat'), None)
    """
    plain = without_lead(cleaned(written[:LONGEST]))
    found = _CHOICE.fullmatch(plain)
    if found is None:
        return Choice(None, plain)
    *marked, text = found.groups()
    letter = next(mark for mark in marked if mark).upper()
    listed = plain[1:2] == "," and (plain[0].islower() or re.fullmatch(r"[A-J]\W*", text))
    if letter not in letters or listed or _ANOTHER.fullmatch(text):
        return Choice(None, plain)
    return Choice(letter, text)


class ChoiceVerifier(Verifier):
    """The answer must name the right option, A to J: by letter in any usual form, or else by its text.

    A target may be a letter (`B`), an option's text (`two cats`) or both (`B. two cats`). Where both sides have a
    letter the letters decide; otherwise the texts do, so an answer in words needs a target that has them.
    """

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the answer names the option of the target.

        >>> ChoiceVerifier()("(B)", "B. two cats"), ChoiceVerifier()("Two cats", "B. two cats")
        (1.0, 1.0)
        """
        given, wanted = choice(answer or ""), choice(target)
        if given.letter and wanted.letter:
            return float(given.letter == wanted.letter)
        return float(folded(given.text) == folded(wanted.text) != "")


class OptionVerifier(Verifier):
    """The answer must name the option whose letter is the target: by its letter, or else by its text.

    A letter decides wherever there is one, unless the whole answer is the text of an option (`C. elegans`). Texts are
    compared as they stand, then as read, then without case, then as numbers; what fits several options names none.

    Args:
        options: Texts of the options in the order of their letters.
    """

    def __init__(self, options: Sequence[str]) -> None:
        if not 2 <= len(options) <= len(LETTERS):
            raise UserError(
                f"`options` must be 2 to {len(LETTERS)} texts, since there is a letter for each; got {len(options)}."
            )
        self.options = tuple(options)

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where the answer names the option of the target.

        >>> verifier = OptionVerifier(["a dog", "two cats"])
        >>> verifier("(B)", "B"), verifier("Two cats", "B"), verifier("A. two cats", "B")
        (1.0, 1.0, 0.0)

        Raises:
            UserError: If the target is not the letter of an option.
        """
        wanted = self.index(target)
        if answer is None or not answer.strip():
            return 0.0
        named = self._named(answer)
        # Which of two options that are equal as they stand is named does not matter.
        return float(named is not None and self.options[named].strip() == self.options[wanted].strip())

    def index(self, target: str) -> int:
        """The place of the option that a target means."""
        letter = choice(target, LETTERS).letter
        if letter is None or LETTERS.index(letter) >= len(self.options):
            raise UserError(
                f"`target` must be the letter of one of the {len(self.options)} options; got {target!r}. "
                "Use a rule that reads a place or a text where the data set gives those."
            )
        return LETTERS.index(letter)

    def _named(self, answer: str) -> int | None:
        """The place of the option that an answer names."""
        letter, text = choice(answer, LETTERS[: len(self.options)])
        whole = self.place_of(answer) if len(answer.strip()) > 1 else None
        if whole is not None:
            return whole
        if letter is not None:
            return LETTERS.index(letter)
        placed = self.place_of(text)
        return self._unnamed(answer.strip()) if placed is None else placed

    def place_of(self, text: str) -> int | None:
        """The only option with a text, by the strictest comparison that any option passes."""
        for same in _COMPARISONS:
            places = [place for place, option in enumerate(self.options) if same(text, option)]
            if places:
                return places[0] if len({self.options[place].strip() for place in places}) == 1 else None
        return None

    def _unnamed(self, answer: str) -> int | None:
        """The option meant by an answer that names none."""
        return None


def _equal(form: Callable[[str], str]) -> Callable[[str, str], bool]:
    return lambda given, option: form(given) == form(option) != ""


def _same_number(given: str, option: str) -> bool:
    """Whether both are one number; the unit of the option may be left out."""
    one, other = number(given), number(option)
    return one is not None and other is not None and one.value == other.value and one.unit in (None, other.unit)


# From the strictest comparison on.
_COMPARISONS = (_equal(str.strip), _equal(lambda text: without_lead(cleaned(text))), _equal(folded), _same_number)


class NearestOptionVerifier(OptionVerifier):
    """As `OptionVerifier`, but an answer that names no option counts as the one nearest in edit distance.

    The rule of MathVista (Lu et al., 2024), which keeps case: `N/A` is as far from `yes` as from `no`, and so the first
    of them. It gives whatever was written a chance to be right by accident.
    """

    def _unnamed(self, answer: str) -> int | None:
        distances = [edit_distance(answer[:_READ], option) for option in self.options]
        return distances.index(min(distances))


class LetterSetVerifier(Verifier):
    """The answer must name all right options and no other, by letter, in any order."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both sets of letters are the same.

        >>> LetterSetVerifier()("C and A", "A, C"), LetterSetVerifier()("A", "A, C")
        (1.0, 0.0)

        Raises:
            UserError: If the target names no option.
        """
        wanted = letters(target)
        if not wanted:
            raise UserError(f"`target` must be letters such as 'A, C' for `LetterSetVerifier`; got {target!r}.")
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
    plain = without_lead(cleaned(written[:LONGEST]))
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
