"""The model in float32 arithmetic, at the cost of one block of float32 weights: what rounding is measured against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.utils import ModelOutput

from vlcal.policy.layouts.headless import HeadlessModel

Kept = list[tuple[nn.Module, str, Any]]  # what was replaced: its owner, its name, and what stood there


class Float32Model(HeadlessModel):
    """The same weights, with products and sums in float32, whatever dtype they are held in.

    Each block of layers gets float32 copies of its weights for the time of its own pass, so that a model which fills
    the memory still fits. The weights themselves are not touched. Those in 4 bits are unpacked and multiplied in
    float32. Embeddings and features stay as they are: every layout is given the same. Autocast and TensorFloat-32 do
    not act.
    """

    @property
    def dtype(self) -> torch.dtype:
        """float32."""
        return torch.float32

    @property
    def precision(self) -> torch.dtype:
        """float32, under autocast too."""
        return torch.float32

    def __call__(self, **inputs: Any) -> ModelOutput:
        """The model's output, with the hidden states in `last_hidden_state`."""
        with (
            _widened(self.backbone.base_model),
            _full_precision_products(),
            _with_masks(self.config),
            torch.autocast(self.backbone.device.type, enabled=False),
        ):
            return super().__call__(**inputs)


@contextmanager
def _widened(model: nn.Module) -> Iterator[None]:
    """A context in which every block computes in float32."""
    with ExitStack() as hooks:
        for block in _blocks(model):
            kept: Kept = []
            widen, restore = partial(_widen, kept), partial(_restore, kept)
            hooks.callback(block.register_forward_pre_hook(widen, prepend=True, with_kwargs=True).remove)
            hooks.callback(block.register_forward_hook(restore, always_call=True).remove)
        yield


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of lists, such as decoder layers, each with all that is within it, and the layers beside them.

    A block is widened as a whole, since some use the weights of an inner layer without calling it.
    """
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        elif any(child.children()):
            yield from _blocks(child)
        elif not isinstance(child, nn.Embedding):
            yield child


def _widen(kept: Kept, block: nn.Module, args: Any, kwargs: Any) -> Any:
    """Put float32 copies in the place of the block's weights, and give its inputs in float32."""
    for module in block.modules():
        places: tuple[dict[str, Any], dict[str, Any]] = (module._parameters, module._buffers)
        for owned in places:
            for name, tensor in owned.items():
                if tensor is not None and tensor.is_floating_point() and tensor.dtype is not torch.float32:
                    kept.append((module, name, tensor))
                    wide = tensor.detach().float()
                    owned[name] = nn.Parameter(wide, requires_grad=False) if owned is module._parameters else wide
        if isinstance(getattr(module, "compute_dtype", None), torch.dtype):  # of products with 4-bit weights
            kept.append((module, "compute_dtype", module.compute_dtype))
            module.compute_dtype = torch.float32  # type: ignore[assignment]
    return _wide(args), _wide(kwargs)


def _restore(kept: Kept, *_: Any) -> None:
    """Put everything back."""
    for module, name, former in kept:
        if name in module._parameters:
            module._parameters[name] = former
        elif name in module._buffers:
            module._buffers[name] = former
        else:
            setattr(module, name, former)
    kept.clear()


def _wide(value: Any) -> Any:
    """The value with its floating tensors as float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _wide(item) for name, item in value.items()}
    return type(value)(_wide(item) for item in value) if type(value) in (list, tuple) else value


@contextmanager
def _full_precision_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _with_masks(config: PretrainedConfig) -> Iterator[None]:
    """A context in which attention that takes half precision alone, FlashAttention, is replaced by SDPA."""
    before = config._attn_implementation
    if "flash" in before:
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = before
