"""Scenes: a row of spoiled digits and a question about them, all drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.data.digits.glyphs import SIDE, Glyphs
from vlcal.data.digits.questions import QUESTION_KINDS, Question
from vlcal.data.digits.spoil import SPOILS

CLARITY = ("clear", "fine", "faint", "poor", "lost")
ZOOM = 4
JITTER = 0.1


@dataclass(frozen=True)
class Scene:
    """One sample of the digits world, with everything the world knows about it.

    Args:
        image: What the policy sees: paper black, ink white, each scanned pixel 4 x 4 display pixels; None where the
            number stands in the question.
        reading: The digits, left to right.
        strengths: How much each digit was spoiled, 0 to 1.
        spoil: In which way.
        question: What is asked.
    """

    image: Float[Tensor, "3 height width"] | None
    reading: tuple[int, ...]
    strengths: tuple[float, ...]
    spoil: str
    question: Question

    @property
    def target(self) -> str:
        """The right answer."""
        return self.question.answer(self.reading)

    @property
    def asked(self) -> str:
        """The question as the policy gets it; it holds the number where there is no image."""
        known = "" if self.image is not None else f"The number is {''.join(map(str, self.reading))}. "
        return known + self.question.text

    @property
    def clarity(self) -> tuple[str, ...]:
        """How clear each digit is, in words."""
        return tuple(CLARITY[min(int(strength * len(CLARITY)), len(CLARITY) - 1)] for strength in self.strengths)


def draw_scene(glyphs: Glyphs, digits: int, hardness: tuple[float, float], rng: torch.Generator) -> Scene:
    """A scene of `digits` digits, spoiled about equally with a strength drawn evenly from the range `hardness`."""
    low, high = hardness
    centre = low + (high - low) * torch.rand((), generator=rng).item()
    jitter = (torch.rand(digits, generator=rng) * 2 - 1) * JITTER * (high > low)
    strengths = tuple((centre + jitter).clamp(0, 1).tolist())
    spoil = list(SPOILS)[_below(len(SPOILS), rng)]
    scans = torch.randint(len(glyphs), (digits,), generator=rng)
    ink = [
        SPOILS[spoil](glyphs.ink(scan, rng), strength, rng)
        for scan, strength in zip(scans.tolist(), strengths, strict=True)
    ]
    row = torch.cat(ink, dim=1).clamp(-1, 2).add(1).div(3)
    image = row.repeat_interleave(ZOOM, 0).repeat_interleave(ZOOM, 1).expand(3, SIDE * ZOOM, -1)
    kind = list(QUESTION_KINDS)[_below(len(QUESTION_KINDS), rng)]
    operands = QUESTION_KINDS[kind].operands
    return Scene(
        image=image,
        reading=tuple(glyphs.labels[scans].tolist()),
        strengths=strengths,
        spoil=spoil,
        question=Question(kind, operands[_below(len(operands), rng)]),
    )


def _below(bound: int, rng: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=rng))
