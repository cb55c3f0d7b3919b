"""`vlcal demo`: the whole of the method on one machine, within minutes."""

from __future__ import annotations

from pathlib import Path


def demo(folder: Path = Path("runs/demo"), recipe: str = "best", seed: int = 0, from_scratch: bool = False) -> None:
    """Teach the embedded model to state calibrated confidences about real handwriting, on the CPU, within minutes.

    Args:
        folder: Where checkpoints, logs, predictions and diagrams go; an earlier demonstration there is replaced.
        recipe: Name of the reinforcement config in configs/digits: best or published.
        seed: Of scenes and samples, and of the weights where they are made from nothing.
        from_scratch: Pretrain a model from nothing first, for some ten minutes, in place of the shipped base, which was
            pretrained for longer.
    """
    from vlcal.commands.trainer import figures_of
    from vlcal.demo import demonstrate, pretrain, take_base

    demonstrate(figures_of, folder, recipe, seed, pretrain if from_scratch else take_base)
