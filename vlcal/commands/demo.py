"""`vlcal demo`: the whole of the method on one machine, within minutes."""

from __future__ import annotations

from pathlib import Path

from vlcal.commands.trainer import figures_of
from vlcal.demo import demonstrate


def demo(folder: Path = Path("runs/demo"), recipe: str = "best", seed: int = 0) -> None:
    """Teach the embedded model to state calibrated confidences about real handwriting, on the CPU, within minutes.

    Args:
        folder: Where checkpoints, logs, predictions and diagrams go; an earlier demonstration there is replaced.
        recipe: Name of the reinforcement config in configs/digits: best or published.
        seed: Of weights, scenes and samples.
    """
    demonstrate(figures_of, folder, recipe, seed)
