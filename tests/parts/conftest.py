"""Records of one step, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from vlcal.rewards import Attempts
from vlcal.types import Certainty, PromptBatch, Responses, Rollouts, Spans

NAN = float("nan")


def attempted(responses: Responses, certainty: Certainty, group_size: int) -> Attempts:
    """Responses as a reward is given them: to `question 0` with the column source `table 0` the `text 0`, ..."""
    rows, tokens = len(responses), certainty.token.shape[1]
    numbers = [str(number) for number in range(rows // group_size)]
    names = tuple(f"question {number}" for number in numbers)
    extras = tuple({"source": f"table {number}"} for number in numbers)
    prompts = PromptBatch(names, ((),) * len(names), names, names, extras)
    written = torch.zeros(rows, tokens, dtype=torch.long)
    texts = tuple(f"text {row}" for row in range(rows))
    rollouts = Rollouts(written, written == 0, written.float(), texts, torch.zeros(rows, dtype=torch.bool), group_size)
    return Attempts(prompts, rollouts, responses, certainty)


@pytest.fixture
def make_responses() -> Callable[..., Responses]:
    """Responses out of plain lists; the parts of the text lie where the given masks say, else nowhere."""

    def make(
        visual: Sequence[float] = (0.5,),
        reasoning: Sequence[float] | None = None,
        correct: Sequence[float] | None = None,
        well_formed: Sequence[bool] | None = None,
        tokens: int = 4,
        **spans: Sequence[Sequence[bool]],
    ) -> Responses:
        rows = len(visual)
        seen = torch.tensor(visual)
        concluded = seen if reasoning is None else torch.tensor(reasoning)
        nowhere = torch.zeros(rows, tokens, dtype=torch.bool)
        names = ("vision", "reasoning", "answer", "visual_confidence", "reasoning_confidence")
        return Responses(
            answers=("7",) * rows,
            well_formed=torch.tensor([True] * rows if well_formed is None else well_formed),
            correct=torch.tensor([1.0] * rows if correct is None else correct),
            visual=seen,
            reasoning=concluded,
            overall=seen * concluded,
            perception_correct=torch.full((rows,), NAN),
            reasoning_correct=torch.full((rows,), NAN),
            spans=Spans(**{name: torch.tensor(spans[name]) if name in spans else nowhere for name in names}),
        )

    return make


@pytest.fixture
def make_certainty() -> Callable[..., Certainty]:
    """Certainty with the given soft labels."""

    def make(response: Sequence[float], token: Tensor | None = None) -> Certainty:
        labels = torch.tensor(response)
        tokens = torch.full((len(labels), 4), 0.5) if token is None else token
        return Certainty(token=tokens, response=labels, score=labels)

    return make


@pytest.fixture
def make_rollouts() -> Callable[..., Rollouts]:
    """Rollouts of which only the shape and the group size matter."""

    def make(rows: int, tokens: int, group_size: int) -> Rollouts:
        return Rollouts(
            tokens=torch.zeros(rows, tokens, dtype=torch.long),
            mask=torch.ones(rows, tokens, dtype=torch.bool),
            log_probs=torch.zeros(rows, tokens),
            texts=("",) * rows,
            truncated=torch.zeros(rows, dtype=torch.bool),
            group_size=group_size,
        )

    return make
