"""Memory and open files of a long training run: 2,000 updates of the embedded model.

    PYTHONPATH=. python benchmarks/endurance.py --output runs/endurance.json --plot docs/endurance.png

A small run by `vlcal fit` as users start it: images from disk, adapters with dropout, two updates a step, TensorBoard,
a checkpoint every 25 steps, and a validation every 25, whose completions are really sampled. Every 20 updates it
notes the memory that the process holds in RAM and the files that it has open, sockets and pipes among them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch

MIB = 2**20
EVERY = 20  # updates
WARM = 0.2  # of the run, in which caches and pools grow


class Gauge(lightning.Callback):
    """Notes memory and open files.

    Args:
        file: Gets a line every 20 updates.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._updates = 0

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Count an update."""
        self._updates += 1
        if self._updates % EVERY == 0:
            row = {"update": self._updates, "mib": resident(), "files": len([*Path("/proc/self/fd").iterdir()])}
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def resident() -> float:
    """MiB of this process in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def flatness(rows: list[dict[str, float]]) -> dict[str, float]:
    """How memory and open files move once the run is warm.

    Returns:
        Rise per 1,000 updates of a line through them, and the least and the most of both.
    """
    warm = rows[int(WARM * len(rows)) :]
    updates, mib, files = (np.array([row[name] for row in warm], float) for name in ("update", "mib", "files"))
    found = {"updates": rows[-1]["update"], "from_update": warm[0]["update"]}
    for name, values in (("mib", mib), ("files", files)):
        rise = float(np.polyfit(updates, values, 1)[0]) * 1000
        found |= {f"{name}_rise": rise, f"{name}_least": float(values.min()), f"{name}_most": float(values.max())}
    return found


def run(folder: Path, updates: int) -> list[dict[str, float]]:
    """What a run of so many updates notes."""
    from tests.modules.killing import config, part, write_questions
    from vlcal.cli import main as vlcal
    from vlcal.data.digits import DigitsDemonstrations
    from vlcal.policy.embedded import write_embedded_model
    from vlcal.text import Grammar

    grammar = Grammar(instructions="")
    corpus = DigitsDemonstrations(grammar=grammar).corpus(60)
    policy = write_embedded_model(folder / "policy", corpus, [*grammar.tags, "10"])
    (folder / "questions").mkdir()
    described = config(policy, folder / "run", write_questions(folder / "questions"))
    described["trainer"] |= {"max_epochs": -1, "max_steps": updates // 2, "val_check_interval": 25}
    monitor, *_, keeps = described["trainer"]["callbacks"]
    keeps["init_args"]["every_n_train_steps"] = 25
    gauge = part("endurance.Gauge", file=str(folder / "notes.jsonl"))
    described["trainer"]["callbacks"] = [monitor, gauge, keeps]
    settings = described["model"]["init_args"]
    settings["sampling"]["init_args"]["validation"] = part("vlcal.policy.GroupEngine", max_new_tokens=12)
    settings["optimization"]["init_args"]["lr"] = 1e-4
    (folder / "run").mkdir()
    file = folder / "run" / "given.yaml"
    file.write_text(json.dumps(described))
    os.environ["VLCAL_PARTS"] = "tests,endurance"
    vlcal(["fit", "--config", str(file)])
    return [json.loads(line) for line in (folder / "notes.jsonl").read_text().splitlines()]


def plot(rows: list[dict[str, float]], file: Path) -> None:
    """Both curves in one small picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(6, 3.4), dpi=90, layout="constrained")
    updates = [row["update"] for row in rows]
    for axes, name, label in ((above, "mib", "resident MiB"), (below, "files", "open files")):
        values = [row[name] for row in rows]
        axes.plot(updates, values)
        axes.set(ylabel=label, ylim=(0, 1.3 * max(values)))
    below.set(xlabel="updates")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def main() -> None:
    """Run, note, draw."""
    options = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    options.add_argument("--updates", type=int, default=2000, help="of the weights, two a step")
    options.add_argument("--output", type=Path, help="JSON file for what was noted")
    options.add_argument("--plot", type=Path, help="PNG file for both curves")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        rows = run(Path(temporary), given.updates)
    found = {**flatness(rows), "rows": rows}
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(found) + "\n")
    if given.plot:
        plot(rows, given.plot)
    sys.stdout.write(json.dumps(flatness(rows)) + "\n")


if __name__ == "__main__":
    main()
