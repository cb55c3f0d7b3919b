"""Answers to multiple choice questions."""

from __future__ import annotations

import re
from typing import NamedTuple

from vlcal.verifiers.base import Verifier
from vlcal.verifiers.exact import normalized

_DECORATION = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\b|[*_`${}]")
_LEAD = re.compile(r"(?:the\s+)?(?:correct\s+)?(?:answer|option|choice)(?:\s+is)?(?:\s*:\s*|\s+)", re.IGNORECASE)
_CHOICE = re.compile(
    r"(?:\(([A-J])\)[.:]?|\[([A-J])\][.:]?|([A-J])(?:[):]|\.(?=\s|$)|$))\s*(.*)", re.IGNORECASE | re.DOTALL
)


class Choice(NamedTuple):
    """One option as somebody wrote it: its letter, its text, or both."""

    letter: str | None
    text: str


def undecorated(written: str) -> str:
    r"""A text without the marks of LaTeX and Markdown around its words.

    >>> undecorated("**two** cats"), undecorated("5\\text{ cm}")
    ('two cats', '5 cm')
    """
    return " ".join(_DECORATION.sub(" ", written).split())


def choice(written: str) -> Choice:
    r"""The letter and the text in the many ways an option is written.

    >>> choice("**(b)** Two cats"), choice("\\text{C}"), choice("a cat")
    (Choice(letter='B', text='two cats'), Choice(letter='C', text=''), Choice(letter=None, text='a cat'))
    """
    plain = undecorated(written)
    lead = _LEAD.match(plain)
    plain = plain[lead.end() :] if lead else plain
    found = _CHOICE.fullmatch(plain)
    if found is None:
        return Choice(None, normalized(plain))
    *letters, text = found.groups()
    return Choice(next(letter for letter in letters if letter).upper(), normalized(text))


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
        return float(bool(given.text) and given.text == wanted.text)
