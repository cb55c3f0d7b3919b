"""A training loader that knows its place in the epoch."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

import pytest
import torch.distributed as dist

from vlcal.data.digits import DigitsDemonstrations, DigitsPrompts
from vlcal.data.resumable import ResumableLoader, SeededOrder, TableOrder, resumable_loader


class Numbers:
    """Rows that are their own numbers, and a list of those that were read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> int:
        self.read.append(row)
        return row


def loader(rows: int = 7, batch_size: int = 2, workers: int = 0, seed: int = 3) -> ResumableLoader:
    return resumable_loader(Numbers(rows), SeededOrder(rows, seed), batch_size, list, workers)  # type: ignore[arg-type]


def epoch(of: ResumableLoader, number: int) -> list[list[int]]:
    of.sampler.set_epoch(number)
    return list(of)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("given", [0, 1, 3])
def test_a_loader_goes_on_behind_the_batches_that_it_handed_out(given: int, workers: int) -> None:
    whole, interrupted, resumed = epoch(loader(), 1), loader(workers=workers), loader(workers=workers)
    interrupted.sampler.set_epoch(1)
    batches = iter(interrupted)
    for _ in range(given):
        next(batches)

    resumed.load_state_dict(interrupted.state_dict())
    made_before_the_epoch_is_known = iter(resumed)  # as Lightning makes it
    resumed.sampler.set_epoch(1)

    assert list(made_before_the_epoch_is_known) == whole[given:]
    assert len(resumed) == len(whole) == 4
    assert epoch(resumed, 2) == epoch(loader(), 2)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_workers_go_on_when_all_processes_of_a_run_are_told_to_end(told: signal.Signals) -> None:
    others = multiprocessing.active_children()
    batches = iter(loader(rows=40, workers=1))
    first = next(batches)
    (worker,) = {*multiprocessing.active_children()}.difference(others)
    assert worker.pid is not None
    os.kill(worker.pid, told)

    assert [first, *batches] == epoch(loader(rows=40), 0)
    worker.join(timeout=20)
    assert worker.exitcode == 0


def test_rows_that_were_learned_from_are_not_even_read() -> None:
    resumed = loader()
    resumed.load_state_dict({**resumed.state_dict(), "batches": 3})

    (left,) = resumed

    assert resumed.dataset.read == left  # type: ignore[attr-defined]


def test_an_epoch_that_is_over_is_followed_by_the_whole_next_one() -> None:
    over, cut, resumed = loader(), loader(), loader()
    epoch(over, 0)
    next(iter(cut))  # an epoch may be over before its batches are

    for state in (over.state_dict(), cut.state_dict()):
        resumed.load_state_dict(state)
        assert epoch(resumed, 1) == epoch(loader(), 1)
    resumed.load_state_dict(over.state_dict())
    assert epoch(resumed, 0) == epoch(loader(), 0)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (loader(batch_size=3), "`batch_size` 2, here 3"),
        (loader(rows=9), "`rows` 7, here 9"),
        (loader(seed=4), "`seed` 3, here 4"),
    ],
)
def test_a_place_among_other_batches_is_refused(other: ResumableLoader, named: str) -> None:
    interrupted = loader()
    next(iter(interrupted))
    other.load_state_dict(interrupted.state_dict())

    with pytest.raises(ValueError, match=f"`ckpt_path` was saved behind batch 1 of an epoch with {named}: "):
        next(iter(other))


@pytest.mark.parametrize("world", [DigitsPrompts, DigitsDemonstrations])
def test_the_digits_world_goes_on_in_its_own_order(world: Any) -> None:
    made = (world(steps=3, batch_size=2).train_dataloader() for _ in range(2))
    whole, resumed = made
    expected = [getattr(batch, "prompts", batch).ids for batch in whole]
    resumed.load_state_dict({**resumed.state_dict(), "batches": 1})

    assert [getattr(batch, "prompts", batch).ids for batch in resumed] == expected[1:]


def test_ranks_share_the_order_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(SeededOrder(7, 3)), list(TableOrder(7))

    def dealt(kind: type[TableOrder], *settings: int) -> list[list[int]]:
        shares = []
        for rank in range(2):
            monkeypatch.setattr(dist, "is_initialized", lambda: True)
            monkeypatch.setattr(dist, "get_world_size", lambda: 2)
            monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
            shares.append(list(kind(7, *settings)))
        return shares

    for order, shares in zip(alone, (dealt(SeededOrder, 3), dealt(TableOrder)), strict=True):
        assert shares == [order[::2], [*order[1::2], order[0]]]  # as many rows each: one is dealt out twice
