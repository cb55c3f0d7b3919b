"""Which layout a model can take, found out by trying."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.policy.grouped import Grouped
from vlcal.policy.packing import Layout, Packed, Plain
from vlcal.text import Grammar
from vlcal.types import PromptBatch

if TYPE_CHECKING:
    from vlcal.policy.policy import Policy

logger = logging.getLogger(__name__)

SIZES = ((64, 64), (64, 96))  # pictures of the trial, in pixels
WORDS = ("a short line of words to continue", "and another, somewhat longer line of words that may follow here")
REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError)
EXACT = 1e-4  # relative error that no layer which mixes completions stays below
ROUNDING = 2.0  # what another order of sums may cost, in steps of the dtype: .016 in bfloat16
NOISE = 8.0  # times what the plain layout itself differs by when its rows are padded differently


@torch.no_grad()
def fitting_layout(policy: Policy) -> Layout:
    """The fastest rows in which the model gives the same numbers as in plain ones.

    Recurrent layers carry one completion over into the next, images that look at themselves both ways need a mask of
    their own, some kernels ignore a mask, and some models do not tell their layers how rows are packed: none of that is
    guessed from a name. A few short completions pass in each layout, and the hidden states are compared, against how
    far plain rows are from themselves when they are padded otherwise. What so short a trial cannot show is a sliding
    window, so a model that has one takes plain rows.
    """
    if "sliding_attention" in (getattr(policy.backbone.config.get_text_config(), "layer_types", None) or ()):
        logger.warning("Completions go through the model one by one: it has layers with a sliding window.")
        return Plain()
    was_training = policy.training
    policy.eval()
    try:
        trial = _Trial(policy)
        for make in (lambda: Grouped(policy), Packed):
            try:
                layout = make()
                trial.check(layout)
            except torch.OutOfMemoryError:
                raise
            except REFUSALS as refusal:
                reason = refusal
            else:
                return layout
    finally:
        policy.train(was_training)
    logger.warning("Completions go through the model one by one: it takes no packed rows (%s).", reason)
    return Plain()


class _Trial:
    """Some completions, and the hidden states that plain rows make of them."""

    def __init__(self, policy: Policy) -> None:
        prompts = _prompts()
        self._policy = policy
        self._encoded = policy.encode(prompts, Grammar(instructions=""))
        tokens, mask = _completions(policy)
        self._tokens, self._mask = tokens.repeat(len(prompts), 1), mask.repeat(len(prompts), 1)
        self._owners = torch.arange(len(prompts), device=tokens.device).repeat_interleave(len(WORDS))
        self._plain = self._states(Plain())
        alone = torch.cat([self._states(Plain(), slice(row, row + 1)) for row in range(len(self._tokens))])
        noise = max(ROUNDING * torch.finfo(policy.dtype).eps, NOISE * _distance(alone, self._plain))
        self._tolerance = max(EXACT, noise)

    def check(self, layout: Layout) -> None:
        """Compare a layout with plain rows.

        Raises:
            ValueError: If it makes other states of the same completions.
        """
        error = _distance(self._states(layout), self._plain)
        if error > self._tolerance:
            raise ValueError(
                f"packed rows give other numbers: relative error {error:.1e}, where {self._tolerance:.1e} is noise"
            )

    def _states(self, layout: Layout, rows: slice = slice(None)) -> Float[Tensor, "n D"]:
        tokens, mask, owners = self._tokens[rows], self._mask[rows], self._owners[rows]
        return layout.hidden(self._policy, self._encoded, tokens, mask, owners)[mask].float()


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
