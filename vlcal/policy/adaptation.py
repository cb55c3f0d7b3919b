"""Adaptations: the whole model learns, the language model, or low-rank adapters over full or 4-bit weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig, PreTrainedModel

from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.policy.adapters import (
    adapter_layers,
    hold_in_float32,
    read_adapter_config,
    refuse_changed_base,
    start_from,
)
from vlcal.policy.layers import LanguageLayers, Layers, decoder, outside_decoder


class Adaptation(ABC):
    """Chooses the weights that learn. Vision tower and projector stay frozen unless a member trains them."""

    learns = True  # whether any weight does

    def loading(self, path: str, dtype: torch.dtype, source: Mapping[str, Any]) -> dict[str, Any]:
        """Further arguments of `from_pretrained`.

        Args:
            path: The checkpoint to load.
            dtype: Of its weights.
            source: Arguments of `from_pretrained` that say where to read from.
        """
        return {}

    @abstractmethod
    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model in which exactly the chosen weights require gradients; wrapped by peft if it has adapters."""

    def in_full_precision(self) -> Adaptation:
        """The same adaptation over a base that is not quantised, into which adapters can be merged."""
        return self


class Frozen(Adaptation):
    """Nothing learns: for evaluation. The null member."""

    learns = False

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model with every weight frozen.

        Raises:
            UserError: If its folder is that of an adapter that changes its base.
        """
        for config in getattr(model, "peft_config", {}).values():
            refuse_changed_base(config, "the adapter at `path`")
        return model.requires_grad_(False)


class LanguageModel(Adaptation):
    """All weights of the language model and its head learn; the vision tower is frozen."""

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model with gradients on the language model and its head."""
        _refuse_adapters(model)
        model.requires_grad_(False)
        decoder(model).requires_grad_(True)
        model.get_output_embeddings().requires_grad_(True)
        return model


class WholeModel(Adaptation):
    """All weights learn, the vision tower included: for a model whose vision tower is untrained."""

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model with gradients everywhere."""
        _refuse_adapters(model)
        return model.requires_grad_(True)


class LoRA(Adaptation):
    """Low-rank adapters on linear layers, by default on those of the language model. Hu et al. (2021).

        W x + (alpha / rank) B A x,  with A (rank, in) and B (out, rank); B starts at 0

    The adapters are float32 whatever the dtype of the model: bfloat16 would round small updates away.

    Args:
        rank: Of each fresh adapter; an existing one brings its own.
        alpha: Scale of fresh adapters, divided by `rank`; an existing one brings its own.
        dropout: On the input of each adapter during updates, in [0, 1); off while sampling and scoring.
        layers: Linear layers that get adapters; of an existing adapter, the layers that continue to learn.
        adapter: Folder of an adapter to continue from, which then is the reference of `AdapterOff`. Left out, adapters
            are fresh and start as the identity.
    """

    @fresh_defaults
    def __init__(
        self,
        rank: int = 16,
        alpha: float = 32.0,
        dropout: float = 0.0,
        layers: Layers = LanguageLayers(),
        adapter: Path | None = None,
    ) -> None:
        if rank < 1:
            raise UserError(f"`rank` must be at least 1, the width of an adapter; got {rank}.")
        if not 0 <= dropout < 1:
            raise UserError(f"`dropout` must be a share in [0, 1), where 0 leaves it out; got {dropout}.")
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.layers = layers
        self.adapter = adapter

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model wrapped, with gradients on the adapters of the chosen layers alone."""
        _refuse_adapters(model)
        chosen = self.layers.of(model)
        if self.adapter is None:
            adapted = get_peft_model(model, self._fresh(chosen))
        else:
            adapted = get_peft_model(model, read_adapter_config(self.adapter, self.dropout))
            start_from(adapted, self.adapter)
        hold_in_float32(adapted)
        learning = {id(module) for module in chosen.values()}
        for layer in adapter_layers(adapted):
            if id(layer.get_base_layer()) not in learning:
                layer.requires_grad_(False)
        return adapted

    def _fresh(self, chosen: Mapping[str, nn.Linear]) -> LoraConfig:
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(chosen),
            task_type="CAUSAL_LM",
        )


class QLoRA(LoRA):
    """Adapters over weights quantised to 4-bit NormalFloat with double quantisation. Dettmers et al. (2023).

    Only the linear layers of the language model are quantised. Vision tower, projector, embeddings, norms and head keep
    the dtype of the policy, which is also that of the matrix products.

    Args:
        rank: Of each fresh adapter; an existing one brings its own.
        alpha: Scale of fresh adapters, divided by `rank`; an existing one brings its own.
        dropout: On the input of each adapter during updates, in [0, 1); off while sampling and scoring.
        layers: Linear layers that get adapters; of an existing adapter, the layers that continue to learn.
        adapter: Folder of an adapter to continue from, which then is the reference of `AdapterOff`. Left out, adapters
            are fresh and start as the identity.
    """

    def loading(self, path: str, dtype: torch.dtype, source: Mapping[str, Any]) -> dict[str, Any]:
        """Quantise the decoder while loading; a model without weights gives the names of all other modules."""
        config = AutoConfig.from_pretrained(path, **source)
        with torch.device("meta"):
            skeleton = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
                llm_int8_skip_modules=outside_decoder(skeleton),
            )
        }

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """The model wrapped, with gradients on the adapters of the chosen layers alone."""
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                # On such a CPU, bitsandbytes repacks the weights in the first pass without gradients, sampling, into a
                # form that has no backward pass.
                module.support_avx512bf16_for_cpu = False
        return super().adapt(model)

    def in_full_precision(self) -> Adaptation:
        """Adapters of the same shape over weights that are not quantised."""
        return LoRA(self.rank, self.alpha, self.dropout, self.layers, self.adapter)


def _refuse_adapters(model: PreTrainedModel) -> None:
    """Refuse a model into which transformers injected adapters: saving what learned would leave them out."""
    if getattr(model, "peft_config", None):
        raise UserError(
            "`path` must be a model without adapters in order to learn, and it is the folder of an adapter; name its "
            "base model as `path` and that folder as `adapter` of LoRA or QLoRA."
        )
