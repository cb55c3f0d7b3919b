"""What a step costs: seconds by part, images through the vision tower, memory at the peak."""

from __future__ import annotations

import ctypes
import functools
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

# The processor's time, of all threads together, is what a machine that does other work as well can be asked for.
TIMES = {"wall": time.perf_counter, "processor": time.process_time}


class Clock:
    """Seconds of each part of a step; what is spent in a part within a part counts for the inner one alone.

    Args:
        device: Where the work is done; a GPU is waited for whenever a part begins or ends.
        time: Whose seconds: of the wall, or of the processor.
    """

    def __init__(self, device: str, time: str) -> None:
        self.device = torch.device(device)
        self._now = TIMES[time]
        self.seconds: Counter[str] = Counter()
        self._open: list[str] = []
        self._since = 0.0

    @property
    def current(self) -> str | None:
        """The innermost part that is under way."""
        return self._open[-1] if self._open else None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A context whose time counts for `name`."""
        self._settle()
        self._open.append(name)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def around(self, function: Callable[..., Any], name: Callable[[], str]) -> Callable[..., Any]:
        """The function with its time counted for whatever `name` says when it is called."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name()):
                return function(*args, **kwargs)

        return timed

    def read(self) -> dict[str, float]:
        """The seconds since the last reading."""
        seconds = dict(self.seconds)
        self.seconds.clear()
        return seconds

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = self._now()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


class TowerCounter:
    """Counts the images that pass a vision tower.

    Args:
        tower: Of a Qwen-VL, which is told the grid of each image.
    """

    def __init__(self, tower: nn.Module) -> None:
        self.images = 0
        tower.register_forward_hook(self._count, with_kwargs=True)

    def _count(self, tower: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        self.images += len(kwargs["grid_thw"] if "grid_thw" in kwargs else args[1])


class PeakMemory:
    """Bytes at the peak beyond those in use when it was made: of the process, or of the GPU that is worked on.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)
            return
        ctypes.CDLL(None).malloc_trim(0)  # what is free but held would hide the same amount of growth
        Path("/proc/self/clear_refs").write_text("5")  # lowers the recorded peak to what is in use
        self.before = _status("VmRSS")

    def growth(self) -> int:
        """Bytes at the peak since then, less those in use then."""
        cuda = self.device.type == "cuda"
        return (torch.cuda.max_memory_allocated(self.device) if cuda else _status("VmHWM")) - self.before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"`/proc/self/status` must tell {name}, and does not: peak memory is measured on Linux alone.")
