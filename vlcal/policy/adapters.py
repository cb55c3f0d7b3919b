"""Low-rank adapters: read from a folder, held in float32, and switched to the state they started from."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch.nn.functional as F
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils import load_peft_weights
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlcal.errors import UserError

LEARNED, START = "default", "start"  # names in peft: of the adapter that learns, and of the copy it started from


class AdapterLinear(nn.Linear):
    """One matrix of an adapter: stored in float32, multiplied in the dtype of the input.

    bfloat16 rounds away an update below 2^-9 of a weight, and at the learning rates of reinforcement learning most are.
    A product in float32 would keep a float32 copy of the input of every adapted layer for the backward pass.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that nn.Linear gave it
        """The product, in the dtype of the input."""
        return F.linear(input, self.weight.to(input.dtype), None if self.bias is None else self.bias.to(input.dtype))


def hold_in_float32(adapted: PeftModel) -> None:
    """Make every adapter float32, for inputs of any dtype."""
    for layer in adapter_layers(adapted):
        layer.cast_input_dtype_enabled = False
        for matrices in (layer.lora_A, layer.lora_B):
            for name, linear in matrices.items():
                held = AdapterLinear(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
                held.weight, held.bias = linear.weight, linear.bias
                matrices[name] = held.float()


def adapter_layers(adapted: nn.Module) -> list[LoraLayer]:
    """The layers that carry adapters."""
    return [module for module in adapted.modules() if isinstance(module, LoraLayer)]


def read_adapter_config(folder: Path, dropout: float) -> LoraConfig:
    """The config of the adapter in a folder, set up for training.

    Raises:
        UserError: If the folder holds no adapter, or one that is not plain LoRA.
    """
    if not (folder / "adapter_config.json").is_file():
        raise UserError(f"`adapter` must be a folder with adapter_config.json, as `ModelExport` writes; got {folder}.")
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError) as error:
        raise UserError(f"`adapter` must be a LoRA adapter that peft can read; {folder} is not: {error}.") from error
    if not isinstance(config, LoraConfig) or config.use_dora or config.modules_to_save or config.bias != "none":
        raise UserError(
            f"`adapter` must be plain LoRA, so that it can be switched off and merged; {folder} is of another kind, "
            "or has DoRA, biases or whole modules beside it."
        )
    config.inference_mode, config.lora_dropout = False, dropout
    config.base_model_name_or_path = None  # the base it was made on may have moved
    return config


def start_from(adapted: PeftModel, folder: Path) -> None:
    """Load the adapter of a folder into the one that learns, and into a frozen copy named START.

    Raises:
        UserError: If it was made for another model.
    """
    adapted.add_adapter(START, copy.deepcopy(adapted.peft_config[LEARNED]))
    weights = load_peft_weights(str(folder), device="cpu")
    for name in (LEARNED, START):
        try:
            result = set_peft_model_state_dict(adapted, weights, adapter_name=name)
        except RuntimeError as error:
            raise UserError(f"`adapter` must have been made for this model; {folder} was not: {error}.") from error
        missing = [key for key in result.missing_keys if f".{name}." in key]
        if missing or result.unexpected_keys:
            raise UserError(
                f"`adapter` must have been made for this model; {folder} lacks {len(missing)} of its weights and has "
                f"{len(result.unexpected_keys)} others."
            )


@contextmanager
def as_started(adapted: PeftModel) -> Iterator[None]:
    """A context in which the model is as it started: the base, or the base with the adapter of the START copy.

    peft switches gradients together with adapters; afterwards, exactly the weights that learned before learn again.
    """
    learning = {id(weight) for weight in adapted.parameters() if weight.requires_grad}
    try:
        with _switched(adapted):
            yield
    finally:
        for weight in adapted.parameters():
            weight.requires_grad_(id(weight) in learning)


def save_learned(adapted: nn.Module, folder: Path) -> None:
    """Write the adapter that learns, or the whole model where there is none."""
    if isinstance(adapted, PeftModel):
        # "auto", the default, asks the hub about the base; no embedding is ever adapted.
        adapted.save_pretrained(str(folder), selected_adapters=[LEARNED], save_embedding_layers=False)
    else:
        adapted.save_pretrained(folder)  # type: ignore[operator]


def merge(adapted: nn.Module) -> PreTrainedModel:
    """The model with its adapters added to the weights they adapt; without adapters, the model itself."""
    return adapted.merge_and_unload() if isinstance(adapted, PeftModel) else adapted


def _switched(adapted: PeftModel) -> AbstractContextManager[None]:
    return _at_start(adapted) if START in adapted.peft_config else adapted.disable_adapter()


@contextmanager
def _at_start(adapted: PeftModel) -> Iterator[None]:
    adapted.set_adapter(START, inference_mode=True)
    try:
        yield
    finally:
        adapted.set_adapter(LEARNED)
