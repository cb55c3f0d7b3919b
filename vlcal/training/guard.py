"""What becomes of a step whose numbers are not finite."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from vlcal.errors import NonFiniteError, UserError
from vlcal.files import AtomicFile

logger = logging.getLogger(__name__)


class FiniteGuard:
    """Skips a step whose rewards, log-probabilities, loss or gradient are not finite, and keeps what it was given.

    No weight moves, and the run goes on with the next batch. The file of the last skipped step holds what a replay
    needs, all of it plain enough for `torch.load(file, weights_only=True)`: `step`, whose random draws follow from it
    and the ids of the prompts; `batch`; `weights`, those that learn, as a checkpoint has them; and `error`.

    Args:
        patience: Skipped steps in a row that end the run, at least 1.
    """

    def __init__(self, patience: int = 3) -> None:
        if patience < 1:
            raise UserError(f"`patience` must be at least 1, the skipped steps that end a run; got {patience}.")
        self.patience = patience
        self.skipped = 0
        self._in_a_row = 0

    def passed(self) -> None:
        """Take note of a step that was taken."""
        self._in_a_row = 0

    def skip(self, error: NonFiniteError, file: Path, **inputs: Any) -> None:
        """Count a skipped step and write its inputs to `file`, in the place of those of an earlier one.

        Raises:
            UserError: If it is one too many in a row.
        """
        self.skipped += 1
        self._in_a_row += 1
        with AtomicFile(file) as written:
            torch.save(plain({"error": str(error), **inputs}), cast(IO[bytes], written))
        if self._in_a_row >= self.patience:
            raise UserError(f"{self._in_a_row} steps in a row were skipped: {error} The inputs of the last: {file}")
        logger.warning("A step was skipped, and no weight moved: %s Its inputs: %s", error, file)


def plain(value: Any) -> Any:
    """The value as tensors on the CPU, mappings, lists, numbers and text; anything else by its `repr`.

    >>> plain({"targets": ("7",), "verifiers": (None,), "kind": int})
    {'targets': ['7'], 'verifiers': [None], 'kind': "<class 'int'>"}
    """
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
