"""Which layout a model can take, found out by trying."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlcal.policy.packing import Layout, Packed, Plain
from vlcal.text import Grammar
from vlcal.types import PromptBatch

if TYPE_CHECKING:
    from vlcal.policy.policy import Policy

logger = logging.getLogger(__name__)

SIZES = ((64, 64), (64, 96))  # pictures of the trial, in pixels
WORDS = ("a short line of words to continue", "and another, somewhat longer line of words that may follow here")
EXACT = 1e-4  # relative error that no layer which mixes completions stays below
ROUNDING = 2.0  # what another order of sums may cost, in steps of the dtype: .016 in bfloat16
NOISE = 8.0  # times what the plain layout itself differs by when its rows are padded differently


@torch.no_grad()
def fitting_layout(policy: Policy) -> Layout:
    """Packed rows where the model gives the same numbers in them, plain ones elsewhere.

    Recurrent layers carry one completion over into the next, images that look at themselves both ways need a mask of
    their own, and some attention kernels ignore a mask: none of that is guessed from a name. A few short completions
    pass in both layouts, and the hidden states are compared, against how far plain rows are from themselves when they
    are padded otherwise.
    """
    was_training = policy.training
    policy.eval()
    try:
        error, tolerance = _trial(policy)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError) as refusal:
        logger.warning("Completions go through the model one by one: it takes no packed rows (%s).", refusal)
        return Plain()
    finally:
        policy.train(was_training)
    if error <= tolerance:
        return Packed()
    logger.warning(
        "Completions go through the model one by one: packed rows give other numbers (relative error %.1e, where %.1e "
        "is noise).",
        error,
        tolerance,
    )
    return Plain()


def _trial(policy: Policy) -> tuple[float, float]:
    """How far packed rows are from plain ones, relative to the hidden states, and how far they may be."""
    prompts = _prompts()
    encoded = policy.encode(prompts, Grammar(instructions=""))
    tokens, mask = _completions(policy)
    tokens, mask = tokens.repeat(len(prompts), 1), mask.repeat(len(prompts), 1)
    owners = torch.arange(len(prompts), device=tokens.device).repeat_interleave(len(WORDS))
    plain = Plain().hidden(policy, encoded, tokens, mask, owners)[mask].float()
    packed = Packed().hidden(policy, encoded, tokens, mask, owners)[mask].float()
    alone = torch.cat(
        [
            Plain().hidden(policy, encoded, tokens[row : row + 1], mask[row : row + 1], owners[row : row + 1])[0][
                mask[row]
            ]
            for row in range(len(tokens))
        ]
    ).float()
    noise = max(ROUNDING * torch.finfo(policy.dtype).eps, NOISE * _distance(alone, plain))
    return _distance(packed, plain), max(EXACT, noise)


def _prompts() -> PromptBatch:
    rng = torch.Generator().manual_seed(0)
    images = tuple((torch.rand(3, *size, generator=rng),) for size in SIZES)
    return PromptBatch(
        ids=("first", "second"),
        images=images,
        questions=("What is there?", "What is there, and how many of them are there?"),
        targets=("", ""),
        extras=({}, {}),
    )


def _completions(policy: Policy) -> tuple[Tensor, Tensor]:
    rows = [policy.tokenizer.encode(words, add_special_tokens=False) for words in WORDS]
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([row + [policy.filler] * (longest - len(row)) for row in rows], device=policy.device)
    lengths = torch.tensor([[len(row)] for row in rows], device=policy.device)
    return tokens, torch.arange(longest, device=policy.device) < lengths


def _distance(some: Tensor, others: Tensor) -> float:
    """Root mean square of the difference over that of the values."""
    return float((some - others).norm() / others.norm())
