"""What is left of responses when they are only judged: a few numbers each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.types import Experience


@dataclass(frozen=True)
class Outcomes:
    """One row per response; NaN where a figure is absent or nobody knows.

    Args:
        correct: The verifier's verdict on the answer.
        overall: Stated overall confidence.
        visual: Stated visual confidence.
        reasoning: Stated reasoning confidence.
        read_right: Whether the image was read right.
        reasoned_right: Whether the answer follows from the stated reading.
        certainty: Score of the label-free visual certainty; any scale.
        well_formed: Whether the text matches the grammar.
        clearness: How little the image was spoiled, where the data set knows: the ceiling of what can be told.
    """

    correct: Float[Tensor, " N"]
    overall: Float[Tensor, " N"]
    visual: Float[Tensor, " N"]
    reasoning: Float[Tensor, " N"]
    read_right: Float[Tensor, " N"]
    reasoned_right: Float[Tensor, " N"]
    certainty: Float[Tensor, " N"]
    well_formed: Float[Tensor, " N"]
    clearness: Float[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.correct)

    @classmethod
    def of(cls, experience: Experience) -> Outcomes:
        """The outcomes of one batch, on the CPU."""
        said = experience.responses
        clearness = [extra.get("clearness", float("nan")) for extra in experience.prompts.extras]
        columns = {
            "correct": said.correct,
            "overall": said.overall,
            "visual": said.visual,
            "reasoning": said.reasoning,
            "read_right": said.read_right,
            "reasoned_right": said.reasoned_right,
            "certainty": experience.certainty.score,
            "well_formed": said.well_formed,
            "clearness": torch.tensor(clearness).repeat_interleave(experience.rollouts.group_size),
        }
        return cls(**{name: column.detach().float().cpu() for name, column in columns.items()})

    @classmethod
    def join(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Several batches as one."""
        return cls(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)})
