"""Bytes that a pass holds, counted on any device, `meta` included."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface

COUNTED = "vlcal_counted"  # the attention that `LiveBytes` can count, by its name in the registry of transformers


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are made in this context and not yet freed, on any device, `meta` included.

    What a kernel allocates internally is not counted.

    Args:
        given: Existing tensors, which are not counted when a view of them is made.
    """

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[Any]] = {}
        for tensor in given:
            self._track(tensor, counted=False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._track(value, counted=True)
        return result

    def _track(self, tensor: Tensor, counted: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes() if counted else 0
            self._watched[key] = weakref.ref(storage, lambda _: self._forget(key))
            self.now += self._sizes[key]
            self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        self._watched.pop(key, None)
        self.now -= self._sizes.pop(key, 0)


class _Attended(torch.autograd.Function):
    """A fused attention kernel by its memory alone: keeps its inputs, its output and one float32 per query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query, key, value, *_ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attention in the signature of transformers; shared key heads are repeated, as SDPA does under a mask."""
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    output: Tensor = _Attended.apply(query, key, value)
    return output.transpose(1, 2).contiguous(), None


# No mask function is registered: it would read the contents of tensors, which `meta` tensors do not have.
AttentionInterface.register(COUNTED, _attend)
