"""Whether the ranks of a run must make the same passes, as they do where each holds a part of the weights."""

from __future__ import annotations

import torch
import torch.distributed as dist

from vlcal.errors import UserError


class Alone:
    """A policy whose passes wait for no other rank. The null member."""

    together = False

    def any(self, claim: bool) -> bool:
        """Whether the claim holds here."""
        return claim

    def most(self, count: int) -> int:
        """The count here."""
        return count

    def require_equal(self, name: str, count: int) -> None:
        """Nothing: no other rank has a count."""


class Lockstep(Alone):
    """A policy whose every pass gathers weights from all ranks: one that passes alone would wait for ever.

    Args:
        device: Of the policy, where what ranks say to each other is held.
    """

    together = True

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def any(self, claim: bool) -> bool:
        """Whether the claim holds on any rank."""
        return bool(self.most(int(claim)))

    def most(self, count: int) -> int:
        """The largest count of all ranks."""
        said = torch.tensor(count, device=self._device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return int(said)

    def require_equal(self, name: str, count: int) -> None:
        """Refuse a count that differs between ranks.

        Raises:
            UserError: On all ranks.
        """
        if self.most(count) != -self.most(-count):
            raise UserError(
                f"{name} must be equally many on all ranks where they share the weights, since ranks pass the model "
                f"together; here are {count}, elsewhere others. Let each rank have as many prompts a step."
            )
