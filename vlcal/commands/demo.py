"""`vlcal demo`: the whole of the method on one machine, within minutes."""

from __future__ import annotations

import sys
from pathlib import Path


def demo(
    folder: Path = Path("runs/demo"),
    recipe: str = "best",
    seed: int = 0,
    from_scratch: bool = False,
    ui: bool = False,
    port: int = 8765,
) -> None:
    """Teach the embedded model to state calibrated confidences about real handwriting, on the CPU, within minutes.

    Args:
        folder: Where checkpoints, logs, predictions and diagrams go; an earlier demonstration there is replaced.
        recipe: Name of the reinforcement config in configs/digits: best or published.
        seed: Of scenes and samples, and of the weights where they are made from nothing.
        from_scratch: Pretrain a model from nothing first, for some ten minutes, in place of the shipped base, which was
            pretrained for longer.
        ui: Then serve the page of `vlcal ui`, at which the trained model is asked. A demonstration of this recipe and
            seed that the folder holds already is shown and not repeated.
        port: Of that page; 0 takes a free one.
    """
    from vlcal.demo import demonstrate, finished, pretrain, take_base

    if ui:
        from vlcal.commands.ui import check_page

        check_page(port=port)  # some minutes before it is needed
    if ui and finished(folder, recipe, seed, from_scratch):
        sys.stdout.write(f"{folder} holds this demonstration; `vlcal demo` without --ui repeats it.\n")
    else:
        from transformers.utils.logging import disable_progress_bar

        from vlcal.commands.trainer import figures_of

        disable_progress_bar()  # of loading weights, five times over in a moment each
        demonstrate(figures_of, folder, recipe, seed, pretrain if from_scratch else take_base)
    if ui:
        from vlcal.commands.ui import ui as page

        page(folder, port=port)
