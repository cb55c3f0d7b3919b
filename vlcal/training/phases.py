"""How long the phases of a step take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class PhaseClock:
    """Adds up the seconds of each phase, over the chunks of a step. Phases end where the host waits for the device."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A context whose duration counts to a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] += time.monotonic() - began  # type: ignore[assignment]

    def take(self) -> dict[str, float]:
        """Seconds of each phase since this was last asked."""
        taken = {name: float(seconds) for name, seconds in self._seconds.items()}
        self._seconds.clear()
        return taken
