"""Activations: kept for the backward pass, or recomputed in it (gradient checkpointing)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial

from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from vlcal.errors import UserError
from vlcal.policy.layers import checkpointable, decoder


class Activations(ABC):
    """Trades memory for time in the backward pass without changing the gradient."""

    @abstractmethod
    def apply(self, model: PreTrainedModel) -> None:
        """Set the model up accordingly."""


class KeptActivations(Activations):
    """Keeps every activation: the fastest, where memory suffices. The null member."""

    def apply(self, model: PreTrainedModel) -> None:
        """Leave the model as it is."""


class RecomputedActivations(Activations):
    """Gradient checkpointing: blocks keep their input alone and run again in the backward pass. Chen et al. (2016).

    It costs one more forward pass of the language model per update and none of the vision tower. It acts in training
    mode with gradients only, so sampling keeps its cache and scoring keeps its speed.

    Args:
        every: Blocks from one recomputed block to the next; 1 recomputes all of them, 2 every other one.
    """

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise UserError(f"`every` must be at least 1, which recomputes every block; got {every}.")
        self.every = every

    def apply(self, model: PreTrainedModel) -> None:
        """Switch gradient checkpointing on for blocks of the decoder.

        Raises:
            UserError: If the decoder has no block that supports it.
        """
        blocks = checkpointable(decoder(model))
        if not blocks:
            raise UserError(
                f"`activations` RecomputedActivations needs blocks that can run again; the decoder of "
                f"{type(model).__name__} has none. Use KeptActivations."
            )
        for block in blocks[:: self.every]:
            # The two attributes that transformers' own switch sets. That switch covers the vision tower too, and makes
            # the embeddings require gradients, which only the reentrant kind needs.
            block.gradient_checkpointing = True
            block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
