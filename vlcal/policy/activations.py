"""What a forward pass leaves in memory for the backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial

from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from vlcal.policy.layers import checkpointable, decoder


class Activations(ABC):
    """Trades memory for time in the backward pass; the gradient is the same."""

    @abstractmethod
    def apply(self, model: PreTrainedModel) -> None:
        """Set the model up for it."""


class KeptActivations(Activations):
    """Every activation is kept: the fastest, where memory is enough. The null member."""

    def apply(self, model: PreTrainedModel) -> None:
        """Leave the model as it is."""


class RecomputedActivations(Activations):
    """Blocks of the language model keep their input alone and run again in the backward pass. Chen et al. (2016).

    Also called gradient checkpointing. It costs one more forward pass of the language model per update and none of the
    vision tower. It acts where the policy is in training mode and gradients are wanted: sampling keeps its cache, and
    scoring is not slowed down.

    Args:
        every: Blocks from one recomputed block to the next; 1 recomputes all of them, 2 every other one.
    """

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"`every` must be at least 1, which recomputes every block; got {every}.")
        self.every = every

    def apply(self, model: PreTrainedModel) -> None:
        """Let the blocks of the decoder be recomputed.

        Raises:
            ValueError: If the decoder has no block that can be.
        """
        blocks = checkpointable(decoder(model))
        if not blocks:
            raise ValueError(
                f"`activations` RecomputedActivations needs blocks that can run again; the decoder of "
                f"{type(model).__name__} has none. Use KeptActivations."
            )
        for block in blocks[:: self.every]:
            # The two attributes that transformers' own switch sets. That one also takes in the vision tower, and makes
            # the embeddings want gradients, which only the reentrant kind needs.
            block.gradient_checkpointing = True
            block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
