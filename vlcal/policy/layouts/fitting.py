"""The fastest layout that a model takes, chosen by trial."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from vlcal.errors import UserError
from vlcal.policy.layouts.continuations import Continuations
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.layouts.grouped import Grouped
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.layout import Layout, Plain
from vlcal.policy.layouts.packing import Packed
from vlcal.types import PromptBatch

logger = logging.getLogger(__name__)

SIZES = ((64, 64), (64, 96))  # images of the trial, in pixels
WORDS = ("a short line of words to continue", "and another, somewhat longer line of words that may follow here")
REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError)
EXACT = 1e-4  # relative error that every layer which mixes completions exceeds
ROUNDING = 2.0  # error from another order of summation, in steps of the dtype: .016 in bfloat16
NOISE = 8.0  # times the error of plain rows under another padding


@torch.no_grad()
def fitting_layout(model: HeadlessModel, trial: Callable[[], Continuations]) -> Layout:
    """The fastest layout whose hidden states are those of plain rows.

    Recurrent layers carry state from one completion into the next, images with bidirectional attention need a mask of
    their own, some kernels ignore a mask, and some models do not pass the packing on to their layers. A trial decides,
    not a list of names: a few short completions pass in each layout, and their hidden states must agree within the
    error that padding alone causes in plain rows. So short a trial cannot show a sliding window, so a model with one
    takes plain rows.

    Args:
        model: In evaluation mode.
        trial: Makes the completions; called once, unless the config rules packed rows out.
    """
    if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()):
        logger.warning("Completions go through the model one by one: it has layers with a sliding window.")
        return Plain()
    whole = trial()
    expected = _states(Plain(), model, whole)
    alone = torch.cat([_states(Plain(), model, whole.select([row])) for row in range(len(whole.tokens))])
    noise = max(ROUNDING * torch.finfo(model.dtype).eps, NOISE * _relative_error(alone, expected))
    for make in (lambda: Grouped(model), Packed):
        try:
            layout = make()
            _refuse_difference(_states(layout, model, whole), expected, max(EXACT, noise))
        except torch.OutOfMemoryError:
            raise
        except REFUSALS as refusal:
            reason = refusal
        else:
            return layout
    logger.warning("Completions go through the model one by one: it takes no packed rows (%s).", reason)
    return Plain()


def trial_prompts() -> PromptBatch:
    """Two prompts of different lengths, each with an image."""
    rng = torch.Generator().manual_seed(0)
    images = tuple((torch.rand(3, *size, generator=rng),) for size in SIZES)
    return PromptBatch(
        ids=("first", "second"),
        images=images,
        questions=("What is there?", "What is there, and how many of them are there?"),
        targets=("", ""),
        extras=({}, {}),
    )


def trial_continuations(encoded: EncodedPrompts, tokenizer: PreTrainedTokenizerBase) -> Continuations:
    """The same two short completions of each prompt."""
    rows = [tokenizer.encode(words, add_special_tokens=False) for words in WORDS]
    longest, device = max(len(row) for row in rows), encoded.rows["input_ids"].device
    tokens = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows], device=device)
    lengths = torch.tensor([[len(row)] for row in rows], device=device)
    mask = torch.arange(longest, device=device) < lengths
    return Continuations.of(encoded, tokens.repeat(len(encoded), 1), mask.repeat(len(encoded), 1))


def _states(layout: Layout, model: HeadlessModel, continuations: Continuations) -> Float[Tensor, "n D"]:
    return layout.hidden(model, continuations)[continuations.mask].float()


def _refuse_difference(states: Float[Tensor, "n D"], expected: Float[Tensor, "n D"], tolerance: float) -> None:
    if (error := _relative_error(states, expected)) > tolerance:
        raise UserError(f"packed rows give other numbers: relative error {error:.1e}, where {tolerance:.1e} is noise")


def _relative_error(states: Tensor, expected: Tensor) -> float:
    return float((states - expected).norm() / expected.norm())
