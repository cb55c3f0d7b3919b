"""The model below its head, as layouts and engines call it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from vlcal.errors import NonFiniteError
from vlcal.policy.layouts.encoded import EncodedPrompts

NARROW = "Set `dtype` (or `precision` of the trainer) to bfloat16 or float32, whose range is wider"
BROKEN = "Check the weights and the images; if they moved, go back to an earlier checkpoint and lower `lr`"


@dataclass(frozen=True)
class HeadlessModel:
    """A vision-language model without its head: inputs to hidden states.

    Args:
        backbone: The model that transformers loaded.
        pad_token_id: The token that fills empty slots.
        anywhere: Whether a claim holds on any of the ranks that pass together.
    """

    backbone: PreTrainedModel
    pad_token_id: int
    anywhere: Callable[[bool], bool] = bool

    def __call__(self, **inputs: Any) -> ModelOutput:
        """The model's output, with the hidden states in `last_hidden_state`."""
        return self.backbone.base_model(**inputs)

    @property
    def config(self) -> PretrainedConfig:
        """The config of the language model; its attention implementation is set there."""
        return self.backbone.config.get_text_config()

    @property
    def dtype(self) -> torch.dtype:
        """Of hidden states and attention scores."""
        weight: Tensor = self.backbone.get_input_embeddings().weight
        return weight.dtype

    @property
    def precision(self) -> torch.dtype:
        """The dtype of products: that of autocast where it acts, else of the weights."""
        device = self.backbone.device.type
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.dtype

    def require_finite(self, what: str, values: Tensor) -> None:
        """Refuse numbers of a pass that are NaN or infinite.

        A comparison cannot: NaN is neither above a bound nor below it.

        Raises:
            NonFiniteError: Names what they are, the dtype and the way out.
        """
        if self.anywhere(not bool(values.isfinite().all())):
            name = str(self.precision).removeprefix("torch.")
            raise NonFiniteError(
                f"{what} must be finite; the model gives NaN or infinite ones in {name}. "
                f"{NARROW if self.precision is torch.float16 else BROKEN}."
            )

    @property
    def cache_argument(self) -> str:
        """The argument that takes keys and values: `past_key_values`, which transformers 5.24 renamed to `cache`."""
        arguments = inspect.signature(self.backbone.base_model.forward).parameters
        return "cache" if "cache" in arguments else "past_key_values"

    def positions(self, encoded: EncodedPrompts) -> tuple[Int[Tensor, "axes P L"], Int[Tensor, " P"]]:
        """Position of each prompt token and the first position behind each prompt.

        One axis counts tokens; models with multimodal rotary positions have three: time, height and width.
        """
        counts = encoded.rows["attention_mask"]
        rope_index = getattr(self.backbone.base_model, "get_rope_index", None)
        if rope_index is None:
            positions = (counts.cumsum(1) - 1).clamp(min=0)[None]
        else:
            known = {**encoded.rows, **encoded.grids}
            asked = {name: known[name] for name in inspect.signature(rope_index).parameters if name in known}
            positions = rope_index(**asked)[0]
        return positions, positions.masked_fill(~counts.bool(), -1).amax((0, 2)) + 1
