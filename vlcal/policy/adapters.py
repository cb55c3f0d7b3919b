"""Low-rank adapters: read from a folder, held in float32, and switched to the state they started from."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftConfig, PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils import load_peft_weights
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlcal.errors import UserError

LEARNED, START = "default", "start"  # names in peft: of the adapter that learns, and of the copy it started from
# Initialisations that leave the base as it is. PiSSA, OLoRA, CorDA, LoRA-GA and LoftQ subtract what the adapter starts
# with from the weights it adapts, each time that an adapter of their config is added to a model.
BASE_KEPT = (True, False, "gaussian", "orthogonal", "eva", "mica")
# What makes an adapter more than A and B beside a weight; peft marks the other variants itself.
BEYOND_LORA = (
    *("use_dora", "use_qalora", "modules_to_save"),
    *("trainable_token_indices", "target_parameters", "layer_replication"),
)


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


@contextmanager
def prepared_adapters(adapted: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """A context without gradients in which adapters are cast and scaled once, not anew at every token.

    A layer then takes its base and two products, the second of which adds to what the base gave, in place of a
    handful of small kernels. Numbers differ by rounding. The base is not touched: merged into weights of bfloat16 or
    4 bits, a small adapter would be rounded away.

    Args:
        adapted: The model, with adapters or without.
        dtype: Of products. Weights must not move within the context.
    """
    prepared = [layer for layer in adapter_layers(adapted) if _plainly_active(layer)]
    for layer in prepared:
        layer.forward = _PreparedForward(layer, dtype)
    try:
        yield
    finally:
        for layer in prepared:
            del layer.forward


def _plainly_active(layer: LoraLayer) -> bool:
    """Whether the layer gives its base plus one adapter, and nothing else."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] in layer.lora_variant:
        return False
    biases = (layer.lora_A[active[0]].bias, layer.lora_B[active[0]].bias)
    return all(bias is None for bias in biases)


class _PreparedForward:
    """The forward pass of a layer with one adapter, whose matrices are cast and scaled.

    Args:
        layer: With its adapter switched on; dropout does not act.
        dtype: Of products.
    """

    def __init__(self, layer: LoraLayer, dtype: torch.dtype) -> None:
        (name,) = (name for name in layer.active_adapters if name in layer.lora_A)
        self._base = layer.get_base_layer()
        self._down = layer.lora_A[name].weight.detach().to(dtype).T
        self._up = (layer.lora_B[name].weight.detach() * layer.scaling[name]).to(dtype).T

    def __call__(self, rows: Tensor) -> Tensor:
        """The base of rows (..., in) plus the adapter of them, (..., out)."""
        given: Tensor = self._base(rows)
        narrow = rows.flatten(0, -2).to(self._down.dtype) @ self._down
        return given.flatten(0, -2).addmm_(narrow, self._up).view(given.shape)


def read_adapter_config(folder: Path, dropout: float) -> LoraConfig:
    """The config of the adapter in a folder, set up for training.

    Raises:
        UserError: If the folder holds no adapter, or one that is not plain LoRA over the base as it is.
    """
    if not (folder / "adapter_config.json").is_file():
        raise UserError(f"`adapter` must be a folder with adapter_config.json, as `ModelExport` writes; got {folder}.")
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError) as error:
        raise UserError(f"`adapter` must be a LoRA adapter that peft can read; {folder} is not: {error}.") from error
    more = _beyond_lora(config)
    if more:
        raise UserError(
            f"`adapter` must be plain LoRA, so that it can be switched off and merged; {folder} has {', '.join(more)}. "
            "Merge it with peft's `merge_and_unload` and name the merged model as `path`."
        )
    refuse_changed_base(config, f"`adapter` {folder}")
    config.inference_mode, config.lora_dropout = False, dropout
    config.init_lora_weights = True  # every weight is loaded; another start could cost an SVD per layer
    config.base_model_name_or_path = None  # the base it was made on may have moved
    return config


def refuse_changed_base(config: PeftConfig, name: str) -> None:
    """Refuse an adapter that belongs to other weights than those of its base model.

    Args:
        config: Of the adapter.
        name: What the message calls it.

    Raises:
        UserError: If its initialisation changes the base: it would be changed again, and differently, on loading.
    """
    start = getattr(config, "init_lora_weights", True)
    if start not in BASE_KEPT:
        raise UserError(
            f"{name} must leave the weights of its base as they are; its `init_lora_weights` is {start!r}, which "
            "subtracts the start of the adapter from them, and would again on loading. Convert it where it was "
            "trained, with peft's `save_pretrained(FOLDER, path_initial_model_for_weight_conversion=START)`, or merge "
            "it there with `merge_and_unload` and name the merged model as `path`. If `path` is the base that was "
            "saved after the subtraction, set `init_lora_weights` to true in adapter_config.json."
        )


def _beyond_lora(config: PeftConfig) -> list[str]:
    """The settings by which an adapter is more than plain LoRA, or its kind."""
    if not isinstance(config, LoraConfig):
        return [type(config).__name__]
    variants = [field.name for field in fields(config) if field.metadata.get("is_lora_variant")]
    more = [name for name in dict.fromkeys((*BEYOND_LORA, *variants)) if getattr(config, name, None)]
    return [*more, *(["bias"] if config.bias != "none" else [])]


def start_from(adapted: PeftModel, folder: Path) -> None:
    """Load the adapter of a folder into the one that learns, and into a frozen copy named START.

    Raises:
        UserError: If it was made for another model.
    """
    skeleton = any(weight.is_meta for weight in adapted.parameters())  # it takes names and shapes alone
    place: AbstractContextManager[object] = torch.device("meta") if skeleton else nullcontext()
    with place:
        adapted.add_adapter(START, copy.deepcopy(adapted.peft_config[LEARNED]))
    weights = load_peft_weights(str(folder), device="cpu")
    if skeleton:
        weights = {key: weight.to("meta") for key, weight in weights.items()}
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


def save_learned(adapted: nn.Module, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the adapter that learns, or the whole model where there is none: its own weights, or those given."""
    if isinstance(adapted, PeftModel):
        # "auto", the default, asks the hub about the base; no embedding is ever adapted.
        adapted.save_pretrained(str(folder), selected_adapters=[LEARNED], save_embedding_layers=False)
    else:
        adapted.save_pretrained(folder, state_dict=weights)  # type: ignore[operator]


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
