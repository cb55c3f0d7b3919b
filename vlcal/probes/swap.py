"""Confidences after a part of the response is replaced by that of another response."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from vlcal.probes.base import KINDS, Columns, Probe, counts, known_mean
from vlcal.probes.levels import levels_at, text_places
from vlcal.probes.study import Study
from vlcal.text import ParsedResponse, Span, parse
from vlcal.text.grammar import CONFIDENCES, OPENING

UNCHANGED = 0.1  # Jensen-Shannon distance, a divergence of .01, up to which a confidence counts as unchanged


class SwappedPart(Probe):
    """Replaces a part of the response by that of a donor and computes the distribution of both confidences again.

    Original and altered response are tokenized the same way, so that they differ in the part alone; the visual
    confidence ahead of the reasoning confidence stays as stated. The donor is the next response of the batch, to
    another prompt, whose part has another text; without one there is no swap. The distance is the square root of the
    Jensen-Shannon divergence to base 2, in [0, 1], and 0 where the confidence does not change (Endres and Schindelin,
    2003):

        D(p, q)^2 = H((p + q) / 2) - (H(p) + H(q)) / 2
    """

    @property
    @abstractmethod
    def part(self) -> str:
        """The part that is swapped."""

    def __call__(self, study: Study) -> Columns:
        texts = study.assessment.rollouts.texts
        swapped = self.swapped(study)
        kept = [text if other is not None else "" for text, other in zip(texts, swapped, strict=True)]
        before = levels_at(study, text_places(study, kept))
        after = levels_at(study, text_places(study, [text or "" for text in swapped]))
        old, new = before.expected(study), after.expected(study)
        return {
            "visual distance": jensen_shannon_distance(before.visual, after.visual),
            "reasoning distance": jensen_shannon_distance(before.reasoning, after.reasoning),
            "mass before": before.mass,
            "mass after": after.mass,
            **{f"change in {kind}": new[kind] - old[kind] for kind in KINDS},
        }

    def summarize(self, columns: Columns) -> dict[str, Any]:
        distances = {name: columns[f"{name} distance"] for name in ("visual", "reasoning")}
        unmoved = {
            name: torch.where(values.isnan(), values, (values <= UNCHANGED).float())
            for name, values in distances.items()
        }
        return {
            "distance": {name: known_mean(values) for name, values in distances.items()},
            "divergence": {name: known_mean(values**2) for name, values in distances.items()},
            f"share_within_{UNCHANGED}": {name: known_mean(values) for name, values in unmoved.items()},
            "change": {kind: known_mean(columns[f"change in {kind}"]) for kind in KINDS},
            "level_mass": {when: known_mean(columns[f"mass {when}"]) for when in ("before", "after")},
            "responses": counts(distances["visual"]),
        }

    def swapped(self, study: Study) -> list[str | None]:
        """The texts with the part of a donor; None where there is no part, no donor, or a confidence is absent."""
        texts = study.assessment.rollouts.texts
        parsed = [parse(text, study.grammar) for text in texts]
        spans = [self.span(text, said) for text, said in zip(texts, parsed, strict=True)]
        parts = [None if span is None else text[slice(*span)] for text, span in zip(texts, spans, strict=True)]
        altered: list[str | None] = []
        for row, (text, said, span) in enumerate(zip(texts, parsed, spans, strict=True)):
            others = (other % len(texts) for other in range(row + 1, row + len(texts)))
            strangers = (parts[other] for other in others if study.prompt_index[other] != study.prompt_index[row])
            donor = next((part for part in strangers if part is not None and part != parts[row]), None)
            stated = all(said.spans[name] is not None for name in CONFIDENCES)
            kept = span is None or donor is None or not stated
            altered.append(None if kept else f"{text[: span[0]]}{donor}{text[span[1] :]}")  # type: ignore[index]
        return altered

    def span(self, text: str, said: ParsedResponse) -> Span | None:
        """The span of the part in a text; None where it is absent."""
        return said.spans[self.part]


class SwappedVision(SwappedPart):
    """Replaces the vision part, which then no longer describes the image."""

    part = "vision"


class SwappedReasoning(SwappedPart):
    """Replaces the reasoning, from which the answer then no longer follows."""

    part = "reasoning"


class SwappedAnswer(SwappedPart):
    """Replaces the answer, which then is no longer the conclusion of the reasoning."""

    part = "answer"


class SwappedAnalysis(SwappedPart):
    """Replaces the analysis, whose doubts are then those about another response."""

    part = "analysis"

    def span(self, text: str, said: ParsedResponse) -> Span | None:
        if said.analysis is None:
            return None
        start = text.index(OPENING[self.part]) + len(OPENING[self.part])
        return start, start + len(said.analysis)


def jensen_shannon_distance(some: Float[Tensor, "N L"], others: Float[Tensor, "N L"]) -> Float[Tensor, " N"]:
    """The root of the Jensen-Shannon divergence of each pair of distributions, to base 2; NaN where one is absent.

    >>> jensen_shannon_distance(torch.tensor([[1.0, 0.0], [0.3, 0.7]]), torch.tensor([[0.0, 1.0], [0.3, 0.7]]))
    tensor([1., 0.])
    """
    distance = jensenshannon(some.double().cpu().numpy(), others.double().cpu().numpy(), base=2, axis=1)
    absent = some.cpu().isnan().any(1) | others.cpu().isnan().any(1)
    # The root of a divergence that rounding made negative is NaN too.
    return torch.from_numpy(distance).nan_to_num(0.0).float().masked_fill(absent, torch.nan)
