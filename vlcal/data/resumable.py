"""A training loader that knows its place in the epoch, so that a resumed run goes on with the prompts that are left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from vlcal.data.sources import draw
from vlcal.errors import UserError


class TableOrder(DistributedSampler[int]):
    """Every row once, in the order of the table, dealt out to the ranks one by one.

    Lightning leaves a DistributedSampler in its place; any other one it would shuffle on several ranks. As many rows
    as it takes for all ranks to have equally many are dealt out twice.

    Args:
        count: Rows in all.
        seed: Of the order, where it is drawn.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        ranks, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        super().__init__(range(count), ranks, rank, seed=seed)  # type: ignore[arg-type]
        self.count = count
        self.passed_over = 0

    def order(self) -> list[int]:
        """The rows of this epoch, for all ranks together."""
        return list(range(self.count))

    def __iter__(self) -> Iterator[int]:
        """The rows of this rank, less the first `passed_over`, which are not even read."""
        first = self.rank + self.passed_over * self.num_replicas
        return islice(cycle(self.order()), first, self.total_size, self.num_replicas)


class SeededOrder(TableOrder):
    """Every row once, in an order that seed and epoch decide, so that a resumed run meets what it would have met."""

    def order(self) -> list[int]:
        """The rows of this epoch, for all ranks together."""
        rng = torch.Generator().manual_seed(int(draw(f"order {self.seed} {self.epoch}") * 2**48))
        return torch.randperm(self.count, generator=rng).tolist()


class ResumableLoader(DataLoader[Any]):
    """A loader whose place in the epoch is saved in checkpoints, counted in the batches that it handed out.

    What its workers have read ahead does not count. Made by `resumable_loader`.
    """

    sampler: TableOrder
    batch_size: int
    _given = 0  # batches of this epoch
    _place: Mapping[str, int] | None = None  # as a checkpoint has it, until the first batch is asked for

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # Lightning makes the iterator before it tells the sampler the epoch: nothing may be decided before `next`.
        self._given = self._handed_out()
        self.sampler.passed_over = self._given * self.batch_size
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The place in the epoch, and what it is counted in; until the first batch that which was loaded."""
        if self._place is not None:
            return dict(self._place)
        return {"epoch": self.sampler.epoch, "batches": self._given, **self._units()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from this place; of an epoch that is over, with the next."""
        self._place = state

    def _units(self) -> dict[str, int]:
        """What a place is counted in: with others it is another place."""
        order = self.sampler
        return {"rows": order.count, "ranks": order.num_replicas, "batch_size": self.batch_size, "seed": order.seed}

    def _handed_out(self) -> int:
        """The batches of this epoch that the resumed run has learned from.

        Raises:
            UserError: If they were other batches.
        """
        place, self._place = self._place, None
        if place is None or place["epoch"] != self.sampler.epoch or place["batches"] >= len(self):
            return 0
        others = [f"`{name}` {place[name]}, here {here}" for name, here in self._units().items() if place[name] != here]
        if others and place["batches"]:
            raise UserError(
                f"`ckpt_path` was saved behind batch {place['batches']} of an epoch with {', '.join(others)}: prompts "
                "would be learned from twice and others never. Set them back, or resume from the end of an epoch."
            )
        return place["batches"]


def resumable_loader(
    rows: Dataset[Any], order: TableOrder, batch_size: int, collate: Callable[[list[Any]], Any], workers: int = 0
) -> ResumableLoader:
    """Batches of rows in an order.

    Args:
        rows: The rows.
        order: Their order.
        batch_size: Rows of a batch.
        collate: Makes a batch of rows.
        workers: Processes that read rows; 0 reads in the main one.
    """
    return ResumableLoader(
        rows,
        batch_size=batch_size,
        sampler=order,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=leave_the_end_to_the_run,
    )


def leave_the_end_to_the_run(worker: int) -> None:
    """Have a worker pass over what tells a run to end: a scheduler, or `timeout`, tells all processes of it at once.

    Without workers the run could not end its step and save it; when it ends, so do they.

    Args:
        worker: Number of the worker.
    """
    for told in ("SIGTERM", "SIGUSR1"):
        if hasattr(signal, told):  # Windows has one of them
            signal.signal(getattr(signal, told), signal.SIG_IGN)
