"""Which weights learn: all of the language model, or low-rank adapters on it, over full or 4-bit weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel


class Adaptation(ABC):
    """Chooses the weights that learn. The vision tower and its projector stay frozen unless a member says otherwise."""

    def loading(self) -> dict[str, Any]:
        """What `from_pretrained` needs to know beforehand."""
        return {}

    @abstractmethod
    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model with exactly the chosen weights requiring gradients; a wrapper where adapters were added."""


class Frozen(Adaptation):
    """Nothing learns: for evaluation. The null member."""

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model with every weight frozen."""
        return model.requires_grad_(False)


class LanguageModel(Adaptation):
    """All weights of the language model learn, the vision tower stays as it is."""

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model with gradients on the language model and its head."""
        model.requires_grad_(False)
        decoder(model).requires_grad_(True)
        model.get_output_embeddings().requires_grad_(True)
        return model


class WholeModel(Adaptation):
    """All weights learn, the vision tower included: for a model that cannot see yet."""

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model with gradients everywhere."""
        return model.requires_grad_(True)


class LoRA(Adaptation):
    """Low-rank adapters on every linear layer of the language model. Hu et al. (2021).

    Layers are found by where they are, not by a name pattern, which would also hit the vision tower.

    Args:
        rank: Of each adapter.
        alpha: Scale of the adapters, divided by `rank`.
        dropout: In front of each adapter while learning, in [0, 1); never active while scoring.
    """

    def __init__(self, rank: int = 16, alpha: float = 32.0, dropout: float = 0.0) -> None:
        if rank < 1:
            raise ValueError(f"`rank` must be at least 1, the width of an adapter; got {rank}.")
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model wrapped, with gradients on the adapters alone."""
        inside = {id(module) for module in decoder(model).modules() if isinstance(module, nn.Linear)}
        targets = [name for name, module in model.named_modules() if id(module) in inside]
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=targets, task_type="CAUSAL_LM"
        )
        return get_peft_model(model, config)


class QLoRA(LoRA):
    """Adapters over weights quantised to 4-bit NormalFloat with double quantisation. Dettmers et al. (2023).

    Args:
        rank: Of each adapter.
        alpha: Scale of the adapters, divided by `rank`.
        dropout: In front of each adapter while learning, in [0, 1); never active while scoring.
    """

    def loading(self) -> dict[str, Any]:
        """Quantise while loading; the vision tower and the head keep their precision."""
        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
                llm_int8_skip_modules=["visual", "vision_tower", "vision_model", "lm_head"],
            )
        }

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model wrapped, with gradients on the adapters alone and norms in float32."""
        return super().adapt(prepare_model_for_kbit_training(model, use_gradient_checkpointing=False))


def decoder(model: PreTrainedModel) -> nn.Module:
    """The language model inside a vision-language model, without its head."""
    found = model.get_decoder()
    if not isinstance(found, nn.Module) or found is model:
        raise ValueError(f"`{type(model).__name__}` names no decoder of its own, so there is nothing to adapt.")
    return found
