"""The ranks of a run, each a process with prompts of its own: what they agree on, add up and put together.

Without other ranks each function gives back what it was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from vlcal.errors import NonFiniteError, TooLittleMemoryError
from vlcal.record_rows import mapped, taken
from vlcal.training.chunks import joined
from vlcal.types import Assessment

Item = TypeVar("Item")

# What ends or skips a step on all ranks, the graver first, with what those say that did not meet it.
PASSED_ON = {
    TooLittleMemoryError: "The memory of another rank does not suffice.",
    NonFiniteError: "Another rank met numbers that are not finite.",
}


def from_all(value: Item) -> list[Item]:
    """The value of every rank, in the order of ranks; it is pickled on its way."""
    if not dist.is_initialized():
        return [value]
    values: list[Item] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def on_every_rank(compute: Callable[[], Item]) -> Item:
    """What `compute` gives, once it has numbers on all ranks; a rank that failed alone would leave others waiting.

    Raises:
        TooLittleMemoryError: On all ranks, if `compute` raised it on one.
        NonFiniteError: Likewise.
    """
    computed, error = None, None
    try:
        computed = compute()
    except (NonFiniteError, TooLittleMemoryError) as raised:
        error = raised
    failed = set(from_all(type(error)))
    for kind, elsewhere in PASSED_ON.items():
        if kind in failed:
            raise error if isinstance(error, kind) else kind(elsewhere)
    return computed  # type: ignore[return-value]


def summed(counts: Sequence[int]) -> list[int]:
    """Each count, added up over ranks."""
    return [sum(column) for column in zip(*from_all(list(counts)), strict=True)]


def added(metrics: Mapping[str, float]) -> dict[str, float]:
    """Each metric, added up over ranks; one that a rank does not have is 0 there."""
    whole: Counter[str] = Counter()
    for own in from_all(dict(metrics)):
        whole.update(own)
    return dict(whole)


def add_gradients(weights: Iterable[torch.nn.Parameter]) -> None:
    """Make the gradient of each weight that learns the sum of those of all ranks; what they share has it already."""
    if not dist.is_initialized():
        return
    under_way = []
    for weight in weights:
        if weight.requires_grad and not isinstance(weight, DTensor):
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            under_way.append(dist.all_reduce(weight.grad, async_op=True))
    for reduction in under_way:
        reduction.wait()


class AllRanks:
    """Puts records together over ranks, in the order in which one process would have the prompts.

    A sampler deals prompts out one by one: the first prompts of all ranks come first, then the second ones. So what
    compares the responses of a step gives each the number that one process with the whole step would give it.

    Args:
        prompts: Of this rank.
        group_size: Completions per prompt.
        device: Where records are wanted.
    """

    def __init__(self, prompts: int, group_size: int, device: torch.device) -> None:
        counts, rank = from_all(prompts), dist.get_rank() if dist.is_initialized() else 0
        order, first = _dealt(counts), sum(counts[:rank])
        self._several = len(counts) > 1
        self._device = device
        self._order = _completions(order, group_size)
        self._own = _completions([order.index(first + place) for place in range(prompts)], group_size)

    def joined(self, record: Item) -> Item:
        """The record of the completions of all ranks."""
        if not self._several:
            return record
        sent = mapped(record, lambda tensor: tensor.cpu(), lambda kept: kept)
        whole = taken(joined(from_all(sent)), self._order)
        here: Item = mapped(whole, lambda tensor: tensor.to(self._device), lambda kept: kept)
        return here

    def own(self, whole: Item, width: int) -> Item:
        """Of a record of all completions that of this rank, whose longest has `width` tokens."""
        if not self._several:
            return whole

        def cut(tensor: Tensor) -> Tensor:
            return tensor[:, :width] if tensor.ndim > 1 else tensor

        part: Item = mapped(taken(whole, self._own), cut, lambda kept: kept)
        return part


def of_all_ranks(assessment: Assessment) -> Assessment:
    """The assessment of all ranks, prompts in the order of one process; those of other ranks come without images."""
    if not dist.is_initialized():
        return assessment
    unseen = replace(assessment, prompts=assessment.prompts.with_images(((),) * len(assessment.prompts))).to("cpu")
    parts = from_all(unseen)
    return joined(parts).select(_dealt([len(part.prompts) for part in parts]))


def _dealt(counts: Sequence[int]) -> list[int]:
    """The prompts of all ranks, numbered rank by rank, in the order in which they are dealt out.

    >>> _dealt([3, 2])  # 0, 1, 2 are of the first rank
    [0, 3, 1, 4, 2]
    """
    starts = list(accumulate(counts, initial=0))
    dealt = sorted((place, rank) for rank, count in enumerate(counts) for place in range(count))
    return [starts[rank] + place for place, rank in dealt]


def _completions(prompts: list[int], group_size: int) -> list[int]:
    return [prompt * group_size + member for prompt in prompts for member in range(group_size)]
