"""Runs of the command line in forked processes, some of which kill themselves. Started by test_killed_runs.py.

One process imports everything, then forks for each run that it reads from its input: a start of Python would cost more
than the run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.nn.utils.rnn import pad_sequence

from vlcal.cli import main
from vlcal.commands.trainer import Cli
from vlcal.policy import Continuations, EncodedPrompts, Policy, RolloutEngine
from vlcal.rewards import Attempts, Reward
from vlcal.text import Grammar
from vlcal.types import PromptBatch, Rollouts


class Scripted(RolloutEngine):
    """Writes well-formed responses whose digits and levels the seed draws: there is something to learn from at once."""

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        grammar, tokenizer = Grammar(instructions=""), policy.tokenizer
        drawn = torch.cat([torch.randint(10, (group_size, 3), generator=rng) for rng in rngs]).tolist()
        texts = [
            grammar.render(str(digit), str(digit), str(digit), "clear", visual_level=seen, reasoning_level=sure)
            for digit, seen, sure in drawn
        ]
        rows = [torch.tensor([*tokenizer.encode(text), tokenizer.eos_token_id]) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        tokens = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        log_probs = policy.score(Continuations.of(encoded, tokens, mask))[0]
        ended = torch.zeros(len(rows), dtype=torch.bool)
        return Rollouts(tokens, mask, log_probs, tuple(texts), ended, group_size)


class EverySecond(Reward):
    """1 for every second completion of a group."""

    def __call__(self, attempts: Attempts) -> torch.Tensor:
        return (torch.arange(len(attempts)) % 2).float()


class Journal(lightning.Callback):
    """Writes down the prompts of each step, and ends the process as told.

    Args:
        file: Gets a line for each attempts.
        end: Where, as `PLACE STEP`; empty for nowhere.
    """

    def __init__(self, file: Path, end: str = "") -> None:
        self.file = file
        self.place, _, step = end.rpartition(" ")
        self.step = int(step or -1)
        if self.place in ("open", "rename"):
            sys.addaudithook(self._audit)
        self._now = -1
        self._passes = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: PromptBatch, batch_idx: int) -> None:
        self._now, self._passes = trainer.global_step, 0
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self._now, "rank": trainer.global_rank, "ids": batch.ids}) + "\n")
        self._reached("rollout")

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        self._passes += 1
        if self._passes == 2:  # between the updates of a step
            self._reached("update")

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        if not trainer.sanity_checking:
            self._reached("validation")

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        name = str(args[0]) if event in ("open", "os.rename") else ""
        if name.endswith(".last.ckpt.partial") and event.endswith(self.place):
            self._reached(self.place)

    def _reached(self, place: str) -> None:
        if self._now == self.step and place in self.place:
            os.kill(os.getpid(), signal.SIGTERM if self.place.startswith("sigterm") else signal.SIGKILL)
            if self.place.startswith("sigterm"):
                self.step = -1


def forked(
    run: Callable[[], None], watched: Path | None = None, kill_after: float = 0.0, ranks: Mapping[str, str] = {}
) -> int:
    """The exit status of a run in a process of its own; negative where a signal ended it.

    Args:
        run: What it does.
        watched: A file whose growth says that steps are taken; None kills at no moment.
        kill_after: Seconds from then on, after which it is killed.
        ranks: What `torchrun` would set, for a run of two processes; one where it is empty.
    """
    children = [
        _child(run, {**ranks, "RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks else {})
        for rank in range(1 + bool(ranks))
    ]
    if watched is not None:
        return _killed(children[0], watched, kill_after)
    return min(_status(child) for child in children)


def _child(run: Callable[[], None], settings: Mapping[str, str]) -> int:
    """The process of a run."""
    child = os.fork()
    if child:
        return child
    os.environ.update(settings)
    status = 1
    try:
        run()
        status = 0
    except SystemExit as ended:
        sys.stderr.write(f"{ended}\n")
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(status)


def _status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed(child: int, watched: Path, kill_after: float) -> int:
    before, due = _size(watched), None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if due is None and _size(watched) > before:
            due = time.monotonic() + kill_after
        if due is not None and time.monotonic() >= due:
            os.kill(child, signal.SIGKILL)
            return _status(child)
        time.sleep(0.002)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, line in enumerate(sys.stdin):
        asked = json.loads(line)
        command, *given = asked["args"]
        if number == 0:  # what is imported and parsed before the fork is there in all runs
            Cli(given, run=False).model.configure_model()
        kill = {"watched": Path(asked["watched"]), "kill_after": asked["kill_after"]} if "watched" in asked else {}
        status = forked(lambda args=(command, *given): main([*args]), **kill, ranks=asked.get("ranks", {}))
        sys.stdout.write(f"status {status}\n")
        sys.stdout.flush()
