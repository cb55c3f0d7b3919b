"""A step that goes through the device in chunks of prompts is the step at once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tests.modules.marked import MarkedReader
from vlcal.callbacks import ProbeWriter, ReadoutWriter
from vlcal.modules import ReinforcementModule
from vlcal.objectives import ExactReferenceKL, ExpectedScore
from vlcal.policy import GroupEngine, LoRA, PolicySpec
from vlcal.policy.memory.live_bytes import LiveBytes
from vlcal.probes import ExpectedLevel, RemovedImage
from vlcal.rewards import AccuracyReward, CalibrationReward, VisualReward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling
from vlcal.types import Experience, PromptBatch

Scenes = Callable[[int], PromptBatch]
Make = Callable[..., ReinforcementModule]
Fit = Callable[..., Any]


@dataclass(frozen=True)
class Taken:
    """What a step did.

    Args:
        experience: What was learned from.
        gradients: Of each weight, one mapping per update.
        figures: Logged.
        encoded: Images in each run of the vision tower.
    """

    experience: Experience
    gradients: list[dict[str, Tensor]]
    figures: dict[str, float]
    encoded: list[int]


class Gradients(lightning.Callback):
    """Keeps the gradients of every update."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        learning = {name: weight for name, weight in pl_module.policy.named_parameters() if weight.requires_grad}
        self.kept.append({name: weight.grad.clone() for name, weight in learning.items()})


@pytest.fixture
def make(embedded: Path, grammar: Grammar) -> Make:
    """A module whose parts compare all responses of a step, and whose loss has terms that count all of them."""

    def made(chunk: int, minibatch: int = 1000) -> ReinforcementModule:
        torch.manual_seed(0)  # of the adapters
        rewards = {"accuracy": AccuracyReward(), "calibration": CalibrationReward(), "visual": VisualReward()}
        module = ReinforcementModule(
            PolicySpec(str(embedded), LoRA(4), dtype="float32"),
            Pipeline(MarkedReader(grammar), rewards),
            Sampling(3, GroupEngine(12), GroupEngine(12), chunk_prompts=chunk),
            Update(
                confidence=ExpectedScore(),
                reference_kl=ExactReferenceKL(),
                minibatch_prompts=minibatch,
                token_budget=300,
            ),
            Optimization(lr=1e-9, clip=math.inf),  # Adam makes whole strides of gradients that are rounding alone
        )
        module.configure_model()
        with torch.no_grad():  # fresh adapters are 0, and half of the gradient too
            for name, weight in module.policy.named_parameters():
                weight.add_(0.05 * torch.randn(weight.shape)) if "lora_B" in name else None
        assert module.policy.layout  # by a trial with images of its own
        return module

    return made


def taken(fit: Fit, module: ReinforcementModule, prompts: PromptBatch) -> Taken:
    """One step."""
    gradients, encoded = Gradients(), []
    module.policy.backbone.base_model.visual.register_forward_hook(
        lambda part, args, kwargs, output: encoded.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    steps = fit(module, [prompts], callbacks=[gradients])
    return Taken(steps.outputs[0]["experience"], gradients.kept, steps.figures[0], encoded)


def tensors(record: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a record, by its path."""
    if isinstance(record, Tensor):
        yield name, record
    elif isinstance(record, dict):
        for key, value in record.items():
            yield from tensors(value, f"{name}.{key}")
    elif is_dataclass(record):
        for field in fields(record):
            yield from tensors(getattr(record, field.name), f"{name}.{field.name}")


@pytest.mark.parametrize("minibatch", [5, 3], ids=["one update", "two updates with a chunk in common"])
def test_a_step_in_chunks_is_the_step_at_once(make: Make, fit: Fit, scenes: Scenes, minibatch: int) -> None:
    whole, chunks = (taken(fit, make(chunk, minibatch), scenes(5)) for chunk in (5, 2))

    labels = whole.experience.assessment.certainty.response
    assert labels[~labels.isnan()].std() > 0.05 and whole.experience.advantages.abs().max() > 0.1
    # Each image, and its perturbed copy, passes the tower once, however the prompts are shared out among updates.
    assert (whole.encoded, chunks.encoded) == ([5, 5], [2, 2, 2, 2, 1, 1])
    assert chunks.experience.assessment.rollouts.texts == whole.experience.assessment.rollouts.texts
    found, expected = (dict(tensors(each.experience)) for each in (chunks, whole))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    assert len(whole.gradients) == len(chunks.gradients) == math.ceil(5 / minibatch)
    for gradient, sought in zip(chunks.gradients, whole.gradients, strict=True):
        difference = torch.cat([(gradient[name] - value).flatten() for name, value in sought.items()])
        norm = torch.cat([value.flatten() for value in sought.values()]).norm()
        assert norm > 1e-3 and difference.norm() < 1e-6 * norm
    assert chunks.figures == pytest.approx(whole.figures, rel=1e-5, abs=1e-6, nan_ok=True)


def test_memory_follows_the_chunk_and_not_the_step(make: Make, fit: Fit, scenes: Scenes) -> None:
    def peak(prompts: int, chunk: int) -> int:
        module, batch = make(chunk), scenes(prompts)
        with LiveBytes([*module.policy.parameters(), *module.policy.buffers()]) as live:
            fit(module, [batch])
        return live.peak

    assert peak(8, 2) < 1.2 * peak(2, 2)


def test_a_validation_in_chunks_and_its_probes_have_the_figures_of_those_at_once(
    make: Make, trainer: Callable[..., lightning.Trainer], scenes: Scenes, tmp_path: Path
) -> None:
    loader = DataLoader([scenes(5)], batch_size=None)

    def figures(chunk: int) -> tuple[Any, Any, list[Any]]:
        probes, readouts = (tmp_path / f"{chunk}.{name}" for name in ("probes.json", "readouts.jsonl"))
        asked = [ProbeWriter(probes, {"removed": RemovedImage()}), ReadoutWriter(readouts, {"read": ExpectedLevel()})]
        (judged,) = trainer(callbacks=asked).validate(make(chunk), loader, verbose=False)
        return judged, json.loads(probes.read_text()), [json.loads(line) for line in readouts.read_text().splitlines()]

    (judged, probed, read), (same, also, likewise) = figures(5), figures(2)

    assert judged["val/calibration/n"] == len(read) == 5 and probed["removed"]["responses"] == {"asked": 5, "used": 5}
    assert same == pytest.approx(judged, rel=1e-6, nan_ok=True)
    assert also == probed and any(row["read_visual"] is not None for row in read)
    for row, other in zip(read, likewise, strict=True):
        assert other == pytest.approx(row, abs=2e-6)  # the file holds six decimals
