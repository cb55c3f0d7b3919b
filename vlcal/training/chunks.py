"""A step in chunks of prompts: what is on the device at once, and the records of all chunks as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import chain, groupby
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from vlcal.policy import UNLIMITED, EncodedPrompts, Policy
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Item = TypeVar("Item")
Record = TypeVar("Record")


class ChunkedPrompts:
    """The prompts of a step, of which one chunk at a time is on the device.

    The images of a chunk pass the vision tower once. Between its uses their features stay in the memory of the CPU, so
    what the device holds follows the chunk, however many prompts the step has.

    Args:
        policy: Encodes the prompts.
        prompts: All prompts of the step.
        grammar: Adds the instructions to every question.
        size: Prompts of a chunk; the last one may have fewer.

    Raises:
        UserError: If ranks that share the weights have unequally many chunks.
    """

    def __init__(self, policy: Policy, prompts: PromptBatch, grammar: Grammar, size: int = UNLIMITED) -> None:
        self.prompts = prompts
        self._policy = policy
        self._grammar = grammar
        self._size = size
        self._parked: dict[int, EncodedPrompts] = {}
        policy.lockstep.require_equal("Chunks of prompts", len(self.chunks(self.all)))

    @property
    def all(self) -> list[int]:
        """The indices of all prompts."""
        return list(range(len(self.prompts)))

    def chunks(self, rows: Sequence[int]) -> list[list[int]]:
        """Prompts, by index in ascending order, in parts that are in the same chunk."""
        return [list(part) for _, part in groupby(rows, lambda row: row // self._size)]

    def encoded(self, rows: Sequence[int]) -> EncodedPrompts:
        """Prompts of one chunk as the model takes them, on the device, which is free again once they are dropped."""
        number = rows[0] // self._size
        start = number * self._size
        if number not in self._parked:
            chunk = self.all[start : start + self._size]
            self._parked[number] = self._policy.encode(self.prompts.select(chunk), self._grammar).to("cpu")
        return self._parked[number].select([row - start for row in rows]).to(self._policy.device)


def cut(items: list[Item], size: int) -> list[list[Item]]:
    """Successive items in lists of `size`; the last one may be shorter.

    >>> cut([0, 1, 2, 3, 4], 2)
    [[0, 1], [2, 3], [4]]
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def joined(parts: Sequence[Record]) -> Record:
    """The records of successive chunks as one; shorter completions are padded on the right with 0 or False."""
    whole: Record = _joined(parts)
    return whole


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        width = max(part.shape[-1] for part in parts)
        return torch.cat([pad(part, (0, width - part.shape[-1])) if part.ndim > 1 else part for part in parts])
    if isinstance(first, tuple):
        return tuple(chain.from_iterable(parts))
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if is_dataclass(first):
        return replace(first, **{f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(first)})  # type: ignore[type-var]
    return first  # of all chunks alike, such as the group size
