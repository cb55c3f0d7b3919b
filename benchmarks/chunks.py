"""A step in chunks of prompts beside the same step at once: the largest differences, the memory at the peak, the time.

    python benchmarks/chunks.py --output runs/chunks.json                             # 32 prompts, G = 8, chunks of 4
    python benchmarks/chunks.py --warm runs/demo/warm --output runs/chunks_warm.json  # real responses to digit scenes

Three steps of one policy from the same weights: all prompts at once, in chunks, and a step of one chunk. Memory is that
of live tensors, the weights not counted (`LiveBytes`), on any device, so the features that wait on the CPU count too.
Its peak within sampling is given beside that of the whole step. `--budget` bounds scoring and update however a step is
cut: with fewer tokens than a chunk has, the peak of the whole step is that of the budget in all three.
Without `--warm` the policy is of random weights, whose first tokens are read as if they were a response.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning
import torch
from machine import machine
from rich.console import Console
from subject import Subject
from torch import Tensor
from torch.utils.data import DataLoader
from vlcal_step import MarkedReader

from vlcal.data.digits import DigitsOracle, DigitsPrompts
from vlcal.modules import ReinforcementModule
from vlcal.objectives import ExactReferenceKL, ExpectedScore, SampledConfidence
from vlcal.policy import GroupEngine, LoRA, PolicySpec
from vlcal.policy.memory.live_bytes import LiveBytes
from vlcal.rewards import AccuracyReward, CalibrationReward, FormatReward, VisualReward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import Sampling
from vlcal.types import Experience, PromptBatch, Rollouts

MIB = 2**20
STIRRED = 0.02  # spread of the adapters: fresh ones are 0, and half of the gradient too


class Chunked:
    """Steps of one policy from the same weights.

    Args:
        folder: Of the checkpoint.
        reader: Reads its responses.
        group: Completions per prompt.
        completion: Longest completion, in tokens.
        confidence: How stated confidences are learned.
        budget: Tokens through the model at once.
    """

    def __init__(
        self, folder: Path, reader: ResponseReader, group: int, completion: int, confidence: Any, budget: int
    ) -> None:
        torch.manual_seed(0)
        rewards = {"accuracy": AccuracyReward(), "format": FormatReward(), "visual": VisualReward()}
        rewards["calibration"] = CalibrationReward()
        self.module = ReinforcementModule(
            PolicySpec(str(folder), LoRA(8), dtype="float32"),
            Pipeline(reader, rewards),
            Sampling(group, GroupEngine(completion)),
            Update(confidence=confidence, reference_kl=ExactReferenceKL(), token_budget=budget),
            Optimization(lr=1e-12),  # so that every step finds the same weights
        )
        self.module.configure_model()
        with torch.no_grad():
            for name, weight in self.module.policy.named_parameters():
                weight.add_(STIRRED * torch.randn(weight.shape)) if "lora_B" in name else None
        _ = self.module.policy.layout

    def step(self, prompts: PromptBatch, chunk: int) -> dict[str, Any]:
        """One step: what was collected, the gradient, bytes at the peak, in sampling and in all, seconds."""
        kept, policy = _Kept(), self.module.policy
        self.module.sampling.chunk_prompts = chunk
        engine = self.module.sampling.training
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_steps=1,
            callbacks=[kept],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        policy.zero_grad()
        start = time.perf_counter()
        with (
            LiveBytes([*policy.parameters(), *policy.buffers()]) as live,
            patch.object(engine, "sample", _Sampling(engine.sample, live)) as sampling,
        ):
            trainer.fit(self.module, DataLoader([prompts], batch_size=None))
        return {
            "experience": kept.experience,
            "gradient": kept.gradient,
            "peak": live.peak,
            "sampling": sampling.peak,
            "s": time.perf_counter() - start,
        }


class _Sampling:
    """A call of an engine that notes the peak within it.

    Args:
        sample: The call.
        live: Counts bytes; what was live before a call is part of its peak.
    """

    def __init__(self, sample: Callable[..., Rollouts], live: LiveBytes) -> None:
        self.peak = 0
        self._sample = sample
        self._live = live

    def __call__(self, *args: Any, **kwargs: Any) -> Rollouts:
        """The completions."""
        before, self._live.peak = self._live.peak, self._live.now
        found = self._sample(*args, **kwargs)
        self.peak = max(self.peak, self._live.peak)
        self._live.peak = max(before, self._live.peak)
        return found


class _Kept(lightning.Callback):
    """Keeps what a step collected, and its gradient."""

    experience: Experience
    gradient: Tensor

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Keep the gradient."""
        self.gradient = torch.cat([w.grad.flatten() for w in pl_module.policy.parameters() if w.grad is not None])

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep the experience."""
        self.experience = outputs["experience"]


def differences(whole: dict[str, Any], chunks: dict[str, Any]) -> dict[str, float]:
    """How many completions differ, and the largest difference of all else; the gradient over its norm."""
    one, other = whole["experience"], chunks["experience"]
    mine, theirs = one.assessment, other.assessment
    pairs = {
        "labels": (mine.certainty.response, theirs.certainty.response),
        "token labels": (mine.certainty.token, theirs.certainty.token),
        "rewards": (mine.rewards.total, theirs.rewards.total),
        "advantages": (one.advantages, other.advantages),
        "log-probabilities": (mine.evidence.log_probs, theirs.evidence.log_probs),
    }
    found = {name: float((first - second).nan_to_num(0).abs().max()) for name, (first, second) in pairs.items()}
    different = sum(text != again for text, again in zip(mine.rollouts.texts, theirs.rollouts.texts, strict=True))
    gradient = float((whole["gradient"] - chunks["gradient"]).norm() / whole["gradient"].norm())
    return {"completions": float(different), **found, "gradient": gradient}


def main() -> None:
    """Measure, show, write."""
    given = _options().parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        chunked, prompts = _warm(given) if given.warm else _random(given, Path(folder))
        whole = chunked.step(prompts, given.prompts)
        chunks = chunked.step(prompts, given.chunk)
        alone = chunked.step(prompts.select(list(range(given.chunk))), given.chunk)
    result = {
        "differences": differences(whole, chunks),
        "labelled": int((~whole["experience"].assessment.certainty.response.isnan()).sum()),
        "peak_mib": {
            part: {name: step[part] / MIB for name, step in (("at once", whole), ("chunks", chunks), ("one", alone))}
            for part in ("peak", "sampling")
        },
        "memory_of_one_chunk": {part: chunks[part] / alone[part] for part in ("peak", "sampling")},
        "seconds": {"at once": whole["s"], "chunks": chunks["s"]},
        "machine": machine("cpu"),
        "command": sys.argv,
    }
    Console(highlight=False, markup=False).print_json(json.dumps(result))
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _warm(given: Any) -> tuple[Chunked, PromptBatch]:
    reader = ResponseReader(Grammar(instructions=""), oracle=DigitsOracle())
    prompts = next(iter(DigitsPrompts(steps=1, batch_size=given.prompts).train_dataloader()))
    return Chunked(given.warm, reader, given.group, given.completion, ExpectedScore(), given.budget), prompts


def _random(given: Any, folder: Path) -> tuple[Chunked, PromptBatch]:
    subject = Subject(prompts=given.prompts, group=given.group, completion=given.completion, image=8, layers=4)
    reader = MarkedReader(Grammar(instructions=""), given.completion // 3)
    folder = subject.write(folder)
    return Chunked(
        folder, reader, given.group, given.completion, SampledConfidence(), given.budget
    ), subject.questions()


def _options() -> ArgumentParser:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=32, help="Prompts a step (%(default)s)")
    parser.add_argument("--group", type=int, default=8, help="Completions per prompt (%(default)s)")
    parser.add_argument("--chunk", type=int, default=4, help="Prompts at once (%(default)s)")
    parser.add_argument("--completion", type=int, default=48, help="Tokens of a completion at most (%(default)s)")
    parser.add_argument("--budget", type=int, default=16384, help="Tokens through the model at once (%(default)s)")
    parser.add_argument("--warm", type=Path, help="Checkpoint of the digits world; made by `vlcal demo`")
    parser.add_argument("--output", type=Path, help="JSON file")
    return parser


if __name__ == "__main__":
    main()
