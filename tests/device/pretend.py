"""A pretend device: its tensors lie in CPU memory, refuse what a card refuses, and count what makes the host wait.

A wrapper tensor says that it lies on the private-use device of torch, as an accelerator that is written in Python does;
a dispatch mode runs every operation on the CPU tensor inside, below autograd, so that backward passes and optimizers
pass through it too.

- An operation with tensors of both places raises; so do a CPU generator and `numpy()`. As on a card, a CPU scalar may
  take part in a pointwise operation, and CPU indices may select from a device tensor, which uploads them.
- `stops` counts synchronisations: places where the host waits until the device has computed a number or a length.
- `uploads` counts copies from the CPU to the device.

Both are counted by phase and by the line of vlcal that asked. What runs are the kernels of the CPU: this shows where
tensors are and who waits, not how a card rounds or what it takes.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

import vlcal

NAME = "pretend"
DEVICE = f"{NAME}:0"
PACKAGE = f"{Path(vlcal.__file__).parent}{os.sep}"

aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
# Their result, or the check of their input, is a number that the host waits for.
WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "multinomial", "bincount"}
WAITING |= {"_unique2", "unique_dim", "unique_consecutive"}
TENSOR = torch.tensor


class PretendTensor(Tensor):
    """A tensor on the pretend device.

    Args:
        held: The same on the CPU.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type[PretendTensor], held: Tensor) -> PretendTensor:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "layout": held.layout}
        tensor = torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, device=DEVICE, **layout)
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: the pretend device of this tensor has been taken away")

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        # With its inverse it makes `nn.Module.to` swap weights in place, so that tied ones stay tied, as on a card.
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: Mapping[str, Tensor], *_: Any) -> PretendTensor:
        return PretendTensor(inner["held"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.held!r})"

    # torch refuses these for every subclass, or handles them where no mode sees it.

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy; use `Tensor.cpu()` first")

    __array__ = numpy

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_listed(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_listed(index), value)


class PretendDevice(TorchDispatchMode):
    """Runs the operations of the pretend device.

    Attributes:
        stops: Synchronisations by phase, operation and line.
        uploads: Copies from the CPU by phase and line.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stops: Counter[tuple[str, str, str]] = Counter()
        self.uploads: Counter[tuple[str, str]] = Counter()
        self._phase = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A context whose synchronisations and uploads are counted under a name."""
        outer, self._phase = self._phase, name
        try:
            yield
        finally:
            self._phase = outer

    def stopped(self, phase: str) -> int:
        """Synchronisations of a phase."""
        return sum(count for (within, _, _), count in self.stops.items() if within == phase)

    def uploaded(self, phase: str) -> int:
        """Uploads of a phase."""
        return sum(count for (within, _), count in self.uploads.items() if within == phase)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = list(_tensors((*args, *kwargs.values())))
        here = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
        wanted = kwargs.get("device")
        on_device = bool(here) if wanted is None else torch.device(wanted).type == NAME
        if not here and not on_device:
            return func(*args, **kwargs)
        if func in COPIES:
            *into, source = args[:2] if func is aten.copy_.default else args[:1]
            on_device = isinstance(into[0], PretendTensor) if into else on_device
            self._count_copy(isinstance(source, PretendTensor), on_device, kwargs.get("non_blocking", False))
        elif here:
            self._refuse_strangers(func, args, [tensor for tensor in tensors if not isinstance(tensor, PretendTensor)])
            self._count_wait(func, args, kwargs)
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != NAME:
            raise RuntimeError(f"{func}: expected a generator on {DEVICE}, got one on {generator.device}")
        if wanted is not None and on_device:
            kwargs |= {"device": "cpu", **({"pin_memory": False} if "pin_memory" in kwargs else {})}
        result = func(*_mapped(args, _held), **{name: _mapped(value, _held) for name, value in kwargs.items()})
        return _placed(here, result) if on_device else result

    def _count_copy(self, from_device: bool, to_device: bool, non_blocking: bool) -> None:
        if from_device and not to_device and not non_blocking:
            self.stops[self._phase, "copy to the CPU", _asking_line()] += 1
        if to_device and not from_device:
            self.uploads[self._phase, _asking_line()] += 1

    def _refuse_strangers(self, func: Any, args: Any, strangers: list[Tensor]) -> None:
        """Raise where a card would, for CPU tensors beside those of the device; count the upload of CPU indices."""
        if not strangers:
            return
        if func in INDEXING and isinstance(args[0], PretendTensor):
            indices = {id(index) for index in args[1]}
            self.uploads[self._phase, _asking_line()] += sum(id(tensor) in indices for tensor in strangers)
            strangers = [tensor for tensor in strangers if id(tensor) not in indices]
        scalars_fit = torch.Tag.pointwise in func.tags or func in INDEXING
        if wrong := [tensor for tensor in strangers if tensor.ndim > 0 or not scalars_fit]:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in wrong)
            raise RuntimeError(f"{func}: expected all tensors on {DEVICE}; those of shape {shapes} are on the CPU")

    def _count_wait(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        name = func.overloadpacket.__name__
        if func in INDEXING:
            masks = any(index is not None and index.dtype == torch.bool for index in args[1])
            filled = (
                len(args) > 2 and args[2].numel() == 1
            )  # one value is filled in under the mask, whatever its length
            waits, name = masks and not filled, "boolean index"
        else:
            unknown_length = func is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None
            waits = name in WAITING or unknown_length
        if waits:
            self.stops[self._phase, name, _asking_line()] += 1


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among the arguments of an operation, which nest in lists alone."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The value with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    return type(value)(_mapped(item, change) for item in value) if isinstance(value, (list, tuple)) else value


def _held(tensor: Tensor) -> Tensor:
    return tensor.held if isinstance(tensor, PretendTensor) else tensor


def _placed(here: list[PretendTensor], result: Any) -> Any:
    """The result on the device; an argument that was changed in place stays that argument."""
    own = {id(tensor.held): tensor for tensor in here}
    return _mapped(result, lambda tensor: own[id(tensor)] if id(tensor) in own else PretendTensor(tensor))


def _listed(index: Any) -> Any:
    """The index with lists as CPU tensors."""
    if isinstance(index, tuple):
        return tuple(_listed(part) for part in index)
    return TENSOR(index, dtype=None if index else torch.long) if isinstance(index, list) else index


def _asking_line() -> str:
    """The innermost line of vlcal that is running."""
    frame = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "outside vlcal"
    return f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}"


def _tensor(data: Any, **settings: Any) -> Tensor:
    """`torch.tensor`, which takes no scalars of a subclass; as on a card, the host waits for each of them."""
    return TENSOR(_mapped(data, Tensor.item) if isinstance(data, (list, tuple)) else data, **settings)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **settings: Any,
) -> Tensor:
    """`scaled_dot_product_attention` by its plain kernel: the choice of a fused one asks for a driver."""
    if attn_mask is not None and attn_mask.dtype not in (torch.bool, query.dtype):
        raise RuntimeError(f"expected an attention mask of bool or {query.dtype}; got {attn_mask.dtype}")
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    return aten._scaled_dot_product_attention_math(query, key, value, attn_mask, dropout_p, is_causal, **settings)[0]


class _NoContext:
    """Any context of a backend, such as that of a current device."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: Any) -> None: ...


class _Backend(_DummyBackendModule):
    """What torch asks the module of a device. Random numbers come from the generator of the CPU."""

    device = _NoContext

    def get_rng_state(self, *_: Any) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, *_: Any) -> None:
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@cache
def _register() -> None:
    """Make the device known to torch, which it stays until the process ends."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    _device_constructors()  # cached with the functions of torch, not with the replacement below


@contextmanager
def pretend_device() -> Iterator[PretendDevice]:
    """A context with a pretend device, for a process of its own: torch takes it for the accelerator from now on."""
    _register()
    lifted = torch._C._only_lift_cpu_tensors()
    with ExitStack() as stack:
        # Modes act in one thread; transformers loads weights in several.
        stack.enter_context(patch.dict(os.environ, HF_DEACTIVATE_ASYNC_LOAD="1"))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(patch.object(torch, "tensor", _tensor))
        stack.enter_context(patch.object(torch.nn.functional, "scaled_dot_product_attention", _attention))
        torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(..., device=...)` becomes a copy that the mode sees
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        yield stack.enter_context(PretendDevice())
