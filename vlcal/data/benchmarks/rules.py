"""Rules that belong to one benchmark."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from vlcal.data.records import UNREADABLE_LITERAL
from vlcal.data.rules import AnswerKey, AnswerRule, ByLetter, Verified, stated
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.verifiers import AnyTarget, MathVerifier, Verifier, YesNoVerifier


class LoneLetter(ByLetter):
    """The letter of the right option and nothing else, for sets that mix options with mathematics, such as ViRL39K."""

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The letter."""
        target = stated(answer)
        if not re.fullmatch(r"[A-J]|\([A-J]\)", target):
            raise UserError(f"the answer must be one capital letter; got {target!r:.80}.")
        return super().__call__(answer, options, row)


class FlagRule(AnswerRule):
    """1 or 0 for yes or no, as HallusionBench (Guan et al., 2024) keeps them."""

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """Yes or no in words."""
        words = {"1": "yes", "0": "no", "True": "yes", "False": "no"}
        flag = stated(answer)
        if flag not in words:
            raise UserError(f"the answer must be 0 or 1; got {flag!r:.80}.")
        return AnswerKey(words[flag], YesNoVerifier())


class OpenAnswers(AnswerRule):
    """One answer, or a list of several that all count, as MMMU (Yue et al., 2024) keeps those without options.

    Args:
        verifier: Judges a response against each.
    """

    @fresh_defaults
    def __init__(self, verifier: Verifier = MathVerifier()) -> None:
        self.verifier = verifier

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> AnswerKey:
        """The first answer as the target; the others count as well."""
        target = stated(answer)
        try:
            several = ast.literal_eval(target) if target.startswith("[") else target
        except UNREADABLE_LITERAL:
            several = target
        if not isinstance(several, list):
            return Verified(self.verifier)(target, options, row)
        first, *others = (stated(item) for item in several) if several else (stated(""),)
        return AnswerKey(first, AnyTarget(self.verifier, others))
