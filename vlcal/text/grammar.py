"""What a response looks like: the one place where its tags, its levels and the request for them are spelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from vlcal.errors import UserError

# Every tag in order, each with the name of the content that follows it; None where only white space may follow.
LAYOUT: tuple[tuple[str, str | None], ...] = (
    ("<think>", None),
    ("<vision>", "vision"),
    ("</vision>", None),
    ("<reasoning>", "reasoning"),
    ("</reasoning>", None),
    ("</think>", None),
    ("\\boxed{", "answer"),
    ("}", None),
    ("<analysis>", "analysis"),
    ("</analysis>", None),
    ("<confidence>", None),
    ("<vision_confidence>", "visual_confidence"),
    ("</vision_confidence>", None),
    ("<reasoning_confidence>", "reasoning_confidence"),
    ("</reasoning_confidence>", None),
    ("</confidence>", None),
)
OPENING = {name: tag for tag, name in LAYOUT if name is not None}
CLOSING = {name: closing for (_, name), (closing, _) in pairwise(LAYOUT) if name is not None}
CONFIDENCES = ("visual_confidence", "reasoning_confidence")


@dataclass(frozen=True)
class Grammar:
    r"""The form of a response: tags, levels of confidence, and the words that ask for them.

    >>> text = Grammar().render("a 7 and a 2", "7 + 2 = 9", "9", "both clear", visual_level=8, reasoning_level=10)
    >>> text[: text.index("<analysis>")]
    '<think><vision>a 7 and a 2</vision><reasoning>7 + 2 = 9</reasoning></think>\\boxed{9}'

    Args:
        levels: The integers a confidence may be stated as, in increasing order; the lowest means 0, the highest 1.
        instructions: What is added to every question. None generates it from the tags and the levels; an empty
            text adds nothing, for a model that knows the form already.
    """

    levels: tuple[int, ...] = tuple(range(11))
    instructions: str | None = None

    def __post_init__(self) -> None:
        increasing = all(low < high for low, high in pairwise(self.levels))
        if len(self.levels) < 2 or not increasing:
            raise UserError(
                "`levels` must hold at least two integers in strictly increasing order, since the lowest means 0 and "
                f"the highest 1; got {self.levels}."
            )

    @property
    def tags(self) -> tuple[str, ...]:
        """Every literal a response is held together by, in order; what a tokenizer may turn into single tokens."""
        return tuple(tag for tag, _ in LAYOUT)

    def prompt(self, question: str) -> str:
        """The question with the instructions after it; the bare question where they are empty."""
        instructions = self._default_instructions() if self.instructions is None else self.instructions
        return f"{question}\n\n{instructions}" if instructions else question

    def render(
        self,
        vision: str,
        reasoning: str,
        answer: str,
        analysis: str,
        visual_level: int,
        reasoning_level: int,
    ) -> str:
        """The response that says all this, with no white space between its blocks."""
        for level in (visual_level, reasoning_level):
            self.confidence(level)  # refuses what is no level
        contents = {
            "vision": vision,
            "reasoning": reasoning,
            "answer": answer,
            "analysis": analysis,
            "visual_confidence": str(visual_level),
            "reasoning_confidence": str(reasoning_level),
        }
        return _join(contents)

    def start(self, vision: str) -> str:
        """The beginning of a response, up to the end of its vision part.

        >>> Grammar().start("a 7")
        '<think><vision>a 7</vision>'
        """
        before = self.tags[: self.tags.index(OPENING["vision"]) + 1]
        return "".join(before) + vision + CLOSING["vision"]

    def confidence(self, level: int) -> float:
        """The confidence in [0, 1] that a level stands for.

        >>> Grammar(levels=(1, 2, 5)).confidence(2)
        0.25

        Raises:
            UserError: If the level is none of the grammar's.
        """
        if level not in self.levels:
            raise UserError(f"`level` must be one of the grammar's levels {self.levels}; got {level}.")
        return (level - self.levels[0]) / (self.levels[-1] - self.levels[0])

    def _default_instructions(self) -> str:
        """A template of the response, then what the levels mean."""
        template = _join(
            {
                "vision": "what you see in the image",
                "reasoning": "what follows from it, step by step",
                "answer": "the answer alone",
                "analysis": "what could be wrong in what you saw and in what you concluded, and how clear each part is",
                "visual_confidence": "level",
                "reasoning_confidence": "level",
            }
        )
        levels = ", ".join(str(level) for level in self.levels)
        return (
            f"Respond in exactly this form:\n{template}\n"
            f"Each level is one of {levels}: {self.levels[0]} means surely wrong, {self.levels[-1]} surely right. "
            "The first says how sure you are of what you see, the second how sure you are of what you conclude from it."
        )


def _join(contents: Mapping[str, str]) -> str:
    """The tags in order, each with its content."""
    return "".join(tag if name is None else tag + contents[name] for tag, name in LAYOUT)
