"""Prompts of every shape, and completions for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vlcal.policy import Adaptation, Policy, PolicySpec
from vlcal.types import PromptBatch


def image(height: int, width: int, seed: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def mixed() -> PromptBatch:
    """Four prompts of different lengths: one image, two images, none, one of another size."""
    return PromptBatch(
        ids=("one", "two", "none", "wide"),
        images=((image(32, 96, 1),), (image(32, 32, 2), image(64, 48, 3)), (), (image(32, 128, 4),)),
        questions=(
            "What is the first digit?",
            "Which is larger?",
            "What is the first plus the second digit?",
            "What is the first plus the second minus the third digit?",
        ),
        targets=("1",) * 4,
        extras=({},) * 4,
    )


@pytest.fixture(scope="session")
def completions(frozen_policy: Policy) -> tuple[Tensor, Tensor]:
    """Two completions per prompt of `mixed`, of lengths 1 to 8."""
    ordinary = [token for token in range(len(frozen_policy.tokenizer)) if token not in frozen_policy.placeholders]
    drawn = torch.randint(len(ordinary), (8, 8), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(8) < torch.arange(1, 9)[:, None]
    return torch.tensor(ordinary)[drawn].masked_fill(~mask, frozen_policy.tokenizer.pad_token_id), mask


@pytest.fixture
def build(embedded: Path) -> Callable[..., Policy]:
    """The embedded model with an adaptation of its own."""

    def made(adaptation: Adaptation, dtype: str = "float32", attention: str = "sdpa") -> Policy:
        return PolicySpec(str(embedded), adaptation, dtype, attention).build()

    return made


@pytest.fixture(scope="session")
def leaning() -> Callable[[Policy, list[int], float], Policy]:
    """The policy with a head that leans towards some tokens."""

    def made(policy: Policy, tokens: list[int], bias: float) -> Policy:
        old = policy.backbone.get_output_embeddings()
        head = nn.Linear(old.in_features, old.out_features)
        head.weight = nn.Parameter(old.weight.detach().clone())
        head.bias = nn.Parameter(torch.zeros(old.out_features).index_fill(0, torch.tensor(tokens), bias))
        policy.backbone.set_output_embeddings(head.requires_grad_(False))
        return policy

    return made
