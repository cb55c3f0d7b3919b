"""Kills a small training run at random moments, resumes it, and compares its end with that of a run without a break.

    PYTHONPATH=. python benchmarks/survival.py --kills 200 --output runs/survival.json

Each process is ended by SIGKILL, at a time drawn evenly from the first step on: in sampling, scoring, an update, a
validation or the writing of a checkpoint. The next process resumes from last.ckpt, and is killed likewise, until one
reaches the end. Compared bit for bit are the last checkpoint (weights, optimizer, memories of parts, callbacks), the
prompts of each step, and the figures that TensorBoard shows for each step. A run that ends is followed by another one
with other moments, until so many kills are done.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.modules.killing import Runs, config, differences, journal, write_questions
from vlcal.data.digits import DigitsDemonstrations
from vlcal.policy.embedded import write_embedded_model
from vlcal.text import Grammar

Described = Callable[[Path], dict[str, Any]]


@dataclass
class Survived:
    """What became of runs that were killed.

    Attributes:
        kills: Processes that were killed.
        runs: Runs that reached their end.
        most: Kills of the run that was killed most often.
        steps: Steps that were under way when a process was killed, and how often.
        different: What differed from the run without a break, for each run in which something did.
    """

    kills: int = 0
    runs: int = 0
    most: int = 0
    steps: dict[int, int] = field(default_factory=dict)
    different: list[dict[str, Any]] = field(default_factory=list)


def survive(
    fit: Runs,
    described: Described,
    straight: Path,
    folder: Path,
    kills: int,
    seed: int,
    report: Callable[[Survived], object] = lambda _: None,
) -> Survived:
    """Kill so many processes, and let each run reach its end in between.

    Args:
        fit: Starts processes.
        described: The config of a run in a folder.
        straight: Folder of the run without a break.
        folder: For the runs.
        kills: In all.
        seed: Of the moments.
        report: Is told what was found whenever a run has ended.
    """
    rng, survived = random.Random(seed), Survived()
    longest = _seconds(fit, described(folder / "timed"))
    while survived.kills < kills:
        run = folder / f"run{survived.runs}"
        moments: list[float] = []
        while survived.kills < kills:
            moments.append(rng.uniform(0, longest))
            if fit(described(run), "--ckpt_path", "last", kill_after=moments[-1]) == 0:
                break
            survived.kills += 1
            step, _ = max(journal(run))
            survived.steps[step] = survived.steps.get(step, 0) + 1
        else:
            if fit(described(run), "--ckpt_path", "last") != 0:
                survived.different.append({"run": survived.runs, "what": ["ended in an error"], "moments": moments})
        survived.runs += 1
        survived.most = max(survived.most, len(moments))
        if what := differences(run, straight):
            survived.different.append({"run": survived.runs - 1, "what": what, "moments": moments})
        report(survived)
    return survived


def _seconds(fit: Runs, described: dict[str, Any]) -> float:
    """How long a run takes from its first step to its end, with what a process takes to start as a part of it."""
    began = time.monotonic()
    fit(described, kill_after=0.0)
    start = time.monotonic()
    fit(described)
    return max(0.5, time.monotonic() - start - (start - began))


def main() -> None:
    """Kill, compare, write."""
    options = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=200, help="processes to kill")
    options.add_argument("--seed", type=int, default=0, help="of the moments")
    options.add_argument("--output", type=Path, help="JSON file for what was found")
    options.add_argument("--folder", type=Path, help="keeps the runs; by default they are removed")
    given = options.parse_args()
    grammar = Grammar(instructions="")
    with tempfile.TemporaryDirectory() as temporary, Runs() as fit:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        corpus = DigitsDemonstrations(grammar=grammar).corpus(60)
        policy = write_embedded_model(folder / "policy", corpus, [*grammar.tags, "10"])
        (folder / "questions").mkdir(exist_ok=True)
        questions = write_questions(folder / "questions")

        def described(run: Path) -> dict[str, Any]:
            return config(policy, run, questions)

        if fit(described(folder / "straight")) != 0:
            sys.exit("The run without a break ended in an error.")

        def report(found: Survived) -> None:
            (given.output or folder / "survival.json").write_text(json.dumps({**asdict(found), "seed": given.seed}))

        if given.output:
            given.output.parent.mkdir(parents=True, exist_ok=True)
        survived = survive(fit, described, folder / "straight", folder, given.kills, given.seed, report)
    sys.stdout.write(f"{survived}\n")
    sys.exit(1 if survived.different else 0)


if __name__ == "__main__":
    main()
