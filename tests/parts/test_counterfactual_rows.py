"""Counterfactual completions are labelled like the others, and change no label of theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.parts.test_no_evidence import ESTIMATORS, GROUP, PROMPTS, step
from vlcal.record_rows import taken
from vlcal.training.chunks import joined
from vlcal.types import Rollouts

MEMBERS = 2  # counterfactual, behind the policy's own of each group
EVERY = [*range(GROUP), *range(PROMPTS * GROUP, PROMPTS * GROUP + MEMBERS)]
OWN = [prompt * (GROUP + MEMBERS) + member for prompt in range(PROMPTS) for member in range(GROUP)]


def beside(own: Any, other: Any) -> Any:
    """The rows of each prompt in one record, with some of another behind them."""
    order = [prompt * GROUP + row for prompt in range(PROMPTS) for row in EVERY]
    record = taken(joined([own, other]), order)
    if not isinstance(record, Rollouts):
        return record
    apart = torch.ones(len(order), dtype=torch.bool)
    apart[OWN] = False
    return replace(record, group_size=GROUP + MEMBERS, counterfactual=apart)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_counterfactual_completions_change_no_label_of_the_others(name: str) -> None:
    alone, together = ESTIMATORS[name](), ESTIMATORS[name]()
    seen = [False] * PROMPTS

    for seed in (1, 2):  # the second step meets what the first left in a memory
        own, other = step(seed, seen), step(seed + 10, seen)
        other[2].correct.fill_(0.0)  # and a fit that took them in would lean their way
        expected = alone(*own)
        found = together(*(beside(one, another) for one, another in zip(own, other, strict=True)))

        for field in ("response", "score", "token", "reasoning"):
            theirs, mine = getattr(found, field)[OWN], getattr(expected, field)
            torch.testing.assert_close(theirs, mine, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", ["KLEntropyCertainty BatchLabeler", "PlattCertainty WindowLabeler"])
def test_a_counterfactual_completion_has_the_label_that_an_ordinary_one_with_its_score_has(name: str) -> None:
    """Every counterfactual completion repeats one of the policy's own."""
    own = step(1, [False] * PROMPTS)

    found = ESTIMATORS[name]()(*(beside(record, record) for record in own))

    labels = found.response.reshape(PROMPTS, GROUP + MEMBERS)
    torch.testing.assert_close(labels[:, GROUP:], labels[:, :MEMBERS])
