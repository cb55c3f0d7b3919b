"""Rules that belong to one benchmark."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from vlcal.data.rules import AnswerRule, ByLetter, ByText, Judged, Verified, stated
from vlcal.verifiers import (
    AnyTarget,
    ExactVerifier,
    MathVerifier,
    NearestOptionVerifier,
    RoundedVerifier,
    TruncatedVerifier,
    Verifier,
    YesNoVerifier,
)
from vlcal.verifiers.numeric import number


class MathVistaRule(AnswerRule):
    """Options by letter, by text or else by the nearest text; whole numbers cut off, decimals rounded as the row says.

    Lu et al. (2024), with the answer read from the response in place of a language model's extract of it.
    """

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> Judged:
        """The target and the verifier of its kind."""
        if options:
            return ByText(NearestOptionVerifier)(answer, options, row)
        return Verified(self._verifier(row))(answer, options, row)

    def _verifier(self, row: Mapping[str, Any]) -> Verifier:
        kind, digits = row.get("answer_type"), row.get("precision")
        if kind == "integer":
            return TruncatedVerifier()
        if kind == "float":
            return RoundedVerifier(2 if digits is None else int(digits))
        if kind in ("list", "text"):
            return ListVerifier() if kind == "list" else ExactVerifier()
        raise ValueError(f"`answer_type` must be integer, float, list or text; got {kind!r:.80}.")


class ListVerifier(Verifier):
    """The answer must be the target's list of numbers or texts, in its order."""

    def __call__(self, answer: str | None, target: str) -> float:
        """1 where both lists hold the same.

        >>> ListVerifier()("[1,2.0]", "[1, 2]"), ListVerifier()("2, 1", "[1, 2]")
        (1.0, 0.0)
        """
        given = _items(answer or "")
        return float(bool(given) and given == _items(target))


def _items(text: str) -> list[float | str]:
    inside = text.strip().strip("$").strip().removeprefix("[").removesuffix("]")
    items = [item.strip().strip("'\"").strip() for item in inside.split(",") if item.strip()]
    numbers = [number(item) for item in items]
    return [item.casefold() if found is None else found for item, found in zip(items, numbers, strict=True)]


class LoneLetter(ByLetter):
    """The letter of the right option and nothing else, for sets that mix options with mathematics, such as ViRL39K."""

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> Judged:
        """The letter."""
        target = stated(answer)
        if not re.fullmatch(r"[A-J]|\([A-J]\)", target):
            raise ValueError(f"the answer must be one capital letter; got {target!r:.80}.")
        return super().__call__(answer, options, row)


class FlagRule(AnswerRule):
    """1 or 0 for yes or no, as HallusionBench (Guan et al., 2024) keeps them."""

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> Judged:
        """Yes or no in words."""
        words = {"1": "yes", "0": "no", "True": "yes", "False": "no"}
        flag = stated(answer)
        if flag not in words:
            raise ValueError(f"the answer must be 0 or 1; got {flag!r:.80}.")
        return Judged(words[flag], YesNoVerifier())


class OpenAnswers(AnswerRule):
    """One answer, or a list of several that all count, as MMMU (Yue et al., 2024) keeps those without options.

    Args:
        verifier: Judges a response against each.
    """

    def __init__(self, verifier: Verifier = MathVerifier()) -> None:
        self.verifier = verifier

    def __call__(self, answer: Any, options: tuple[str, ...], row: Mapping[str, Any]) -> Judged:
        """The first answer as the target; the others count as well."""
        target = stated(answer)
        try:
            several = ast.literal_eval(target) if target.startswith("[") else target
        except (ValueError, SyntaxError):
            several = target
        if not isinstance(several, list):
            return Verified(self.verifier)(target, options, row)
        first, *others = (stated(item) for item in several) if several else (stated(""),)
        return Judged(first, AnyTarget(self.verifier, others))
