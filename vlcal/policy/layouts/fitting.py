"""The fastest layout that a model takes, chosen by trial."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from vlcal.errors import NonFiniteError, UserError, out_of_memory
from vlcal.policy.layouts.continuations import Continuations
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.layouts.float32 import Float32Model
from vlcal.policy.layouts.grouped import Grouped
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.layout import Layout, Plain
from vlcal.policy.layouts.packing import Packed
from vlcal.types import PromptBatch

logger = logging.getLogger(__name__)

SIZES = ((64, 64), (64, 96))  # images of the trial, in pixels
WORDS = ("a short line of words to continue", "and another, somewhat longer line of words that may follow here")
REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError)
FAULTS = (torch.OutOfMemoryError, torch.AcceleratorError)  # of the device, not of the layout
EXACT = 1e-4  # relative error in float32 that every layer which mixes completions exceeds
FACTOR = 1.5  # times the error of plain rows, which is rounding alone


@torch.no_grad()
def fitting_layout(model: HeadlessModel, trial: Callable[[], Continuations]) -> Layout:
    """The fastest layout that changes nothing but rounding.

    Recurrent layers carry state from one completion into the next, images with bidirectional attention need a mask of
    their own, some kernels ignore a mask, and some models do not pass the packing on to their layers. A trial decides,
    not a list of names; docs/families.md explains how. So short a trial cannot show a sliding window, so a model with
    one takes plain rows.

    Args:
        model: In evaluation mode.
        trial: Makes the completions; called once.

    Raises:
        UserError: If hidden states are not finite, or depend on tokens behind them.
    """
    try:
        tried = _Trial(model, trial())
    except NonFiniteError as error:  # no step of a run can be better
        raise UserError(str(error)) from error
    tried.refuse_later_tokens()
    if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()):
        logger.warning("Completions go through the model one by one: it has layers with a sliding window.")
        return Plain()
    for make in (lambda: Grouped(model), Packed):
        try:
            layout = make()
            tried.refuse_difference(layout)
        except REFUSALS as refusal:
            if isinstance(refusal, FAULTS) or "CUDA error" in str(refusal) or out_of_memory(refusal):
                raise
            reason = refusal
        else:
            logger.info("The completions of a prompt share a row (%s).", type(layout).__name__)
            return layout
    logger.warning("Completions go through the model one by one: it takes no packed rows (%s).", reason)
    return Plain()


class _Trial:
    """Completions whose hidden states are known in float32.

    Args:
        model: What is tried.
        completions: What passes it, as `trial_continuations` makes it.

    Raises:
        NonFiniteError: If a state is not finite.
    """

    def __init__(self, model: HeadlessModel, completions: Continuations) -> None:
        self._model = model
        self._exactly = Float32Model(model.backbone, model.pad_token_id)
        self._completions = completions
        plain = Plain().hidden(model, completions)  # first, since 4-bit layers take the dtype of their first input
        self._exact = Plain().hidden(self._exactly, completions)
        for computed, states in ((self._exactly, self._exact), (model, plain)):
            computed.require_finite("Hidden states", states[completions.mask])
        self._rounding = self._error(plain)

    def refuse_later_tokens(self) -> None:
        """Refuse a model in which a later token of a completion moves an earlier state."""
        first, _, forked = self._exact.unflatten(0, (len(self._completions.encoded), -1)).unbind(1)  # type: ignore[no-untyped-call]
        shared = _forking_point(self._completions) + 1  # the first token that differs is predicted from equal ones
        if (error := _relative_error(forked[:, :shared], first[:, :shared])) > EXACT:
            raise UserError(
                f"`path` must be a model that reads a completion token by token; in this one a later token moves "
                f"earlier hidden states (relative change {error:.1e}), so the log-probabilities of a whole completion "
                "are not those it is sampled with. Use a family of docs/families.md."
            )

    def refuse_difference(self, layout: Layout) -> None:
        """Refuse a layout whose states differ from those of plain rows by more than rounding.

        The float32 pass shows a state that depends on something else; the pass in the model's own dtype shows a kernel
        of that dtype which treats the rows differently.
        """
        exact = self._error(layout.hidden(self._exactly, self._completions))
        own = self._error(layout.hidden(self._model, self._completions))
        tolerance = max(EXACT, FACTOR * self._rounding)
        # Not `error > tolerance`, which is False for NaN.
        if not (exact <= EXACT and own <= tolerance):
            raise UserError(
                f"packed rows give other numbers: relative error {exact:.1e} in float32, where {EXACT:.1e} is "
                f"rounding, and {own:.1e} as computed here, where {tolerance:.1e} is"
            )

    def _error(self, states: Float[Tensor, "N T D"]) -> float:
        mask = self._completions.mask
        return _relative_error(states[mask], self._exact[mask])


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
    """Three short completions of each prompt; the third starts as the first and goes on as the second."""
    first, second = (tokenizer.encode(words, add_special_tokens=False) for words in WORDS)
    rows = [first, second, [*first[: len(first) // 2], *second[len(first) // 2 :]]]
    longest, device = max(len(row) for row in rows), encoded.rows["input_ids"].device
    tokens = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows], device=device)
    lengths = torch.tensor([[len(row)] for row in rows], device=device)
    mask = torch.arange(longest, device=device) < lengths
    return Continuations.of(encoded, tokens.repeat(len(encoded), 1), mask.repeat(len(encoded), 1))


def _forking_point(completions: Continuations) -> int:
    """Tokens that the first and the third completion of a prompt share."""
    return int((completions.tokens[0] == completions.tokens[2]).int().cumprod(0).sum())


def _relative_error(states: Tensor, expected: Tensor) -> float:
    return float((states.float() - expected).norm() / expected.norm())
