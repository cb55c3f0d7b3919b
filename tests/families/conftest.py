"""One policy per family, and prompts that differ in everything that could be mixed up."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.families.checkpoints import FAMILIES, write_checkpoint
from vlcal.policy import Adaptation, Frozen, Policy, PolicySpec
from vlcal.types import PromptBatch

GROUP = 2


def picture(height: int, width: int, seed: int) -> Tensor:
    """Noise in eight-bit levels, in [0, 1]."""
    levels = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(seed))
    return levels / 255


@pytest.fixture(scope="session", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder, one family after the other; the folder has the name of the family."""
    return write_checkpoint(request.param, tmp_path_factory.mktemp("families") / request.param)


@pytest.fixture(scope="session")
def family(checkpoint: Path) -> str:
    return checkpoint.name


@pytest.fixture(scope="session")
def policy(checkpoint: Path) -> Policy:
    """The family with nothing to learn, for tests that leave it as it is."""
    return PolicySpec(str(checkpoint), dtype="float32").build()


@pytest.fixture
def build(checkpoint: Path) -> Callable[..., Policy]:
    """The family with an adaptation of its own."""

    def made(adaptation: Adaptation = Frozen(), path: Path = checkpoint) -> Policy:
        return PolicySpec(str(path), adaptation, dtype="float32").build()

    return made


@cache
def batch() -> PromptBatch:
    pictures = ((), (picture(32, 96, 1),), (picture(32, 32, 2), picture(64, 48, 3)), (picture(40, 100, 4),))
    return PromptBatch(
        ids=("none", "wide", "two", "odd"),
        images=pictures,
        questions=("What is the first?", "Which is larger, the first or the second?", "What?", "Is the digit larger?"),
        targets=("1",) * 4,
        extras=({},) * 4,
    )


@pytest.fixture(scope="session")
def mixed() -> PromptBatch:
    """Four prompts of different lengths: no image, one, two of different sizes, one that no tile fits."""
    return batch()


@pytest.fixture(scope="session")
def completions(policy: Policy) -> tuple[Tensor, Tensor]:
    """Two completions per prompt of `mixed`, of lengths 1 to 8."""
    marks = {*policy.placeholders, *policy.tokenizer.all_special_ids}
    ordinary = torch.tensor([token for token in range(len(policy.tokenizer)) if token not in marks])
    drawn = torch.randint(len(ordinary), (8, 8), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(8) < torch.tensor([3, 8, 1, 5, 6, 2, 7, 4])[:, None]
    return ordinary[drawn].masked_fill(~mask, policy.tokenizer.pad_token_id), mask
