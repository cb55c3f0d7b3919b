"""The rows of records: how many there are, and some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlcal.errors import UserError

ABSENT = torch.zeros(0)  # the default of a tensor that a record makes itself, from the shape of another


def fill(record: object, **values: Tensor) -> None:
    """Give a record that is being made the tensors that it was not given."""
    for name, value in values.items():
        if getattr(record, name) is ABSENT:
            object.__setattr__(record, name, value)


def check_rows(record: Any, expected: int, *apart: str) -> None:
    """Refuse a record whose fields, but for those set apart, disagree about how many rows there are."""
    for name in (f.name for f in fields(record) if f.name not in apart):
        if (length := len(getattr(record, name))) != expected:
            raise UserError(
                f"`{type(record).__name__}.{name}` must hold {expected} rows like its siblings; got {length}."
            )


def taken(value: Any, rows: list[int]) -> Any:
    """The given rows of a field of a record."""
    return mapped(
        value,
        lambda tensor: tensor[torch.tensor(rows, dtype=torch.long, device=tensor.device)],
        lambda items: tuple(items[row] for row in rows),
    )


def mapped(value: Any, of_tensor: Callable[[Tensor], Tensor], of_tuple: Callable[[Any], Any]) -> Any:
    """The value with every tensor and every tuple in it replaced, through mappings and records."""
    if isinstance(value, Tensor):
        return of_tensor(value)
    if isinstance(value, tuple):
        return of_tuple(value)
    if isinstance(value, Mapping):
        return {name: mapped(item, of_tensor, of_tuple) for name, item in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: mapped(getattr(value, f.name), of_tensor, of_tuple) for f in fields(value)})  # type: ignore[type-var]
    return value
