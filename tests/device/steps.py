"""Every step on the pretend device, where mixing with the CPU raises, and the same step on the CPU.

Not collected with the other tests, since the device is for a process of its own: see test_pretend_device.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from tests.device.pretend import DEVICE, PretendDevice
from vlcal.callbacks import (
    CertaintyMonitor,
    CollapseWatch,
    CompletionTable,
    ModelExport,
    PredictionWriter,
    ProbeWriter,
    ReadoutWriter,
    ReliabilityDiagram,
    StrengthSchedule,
    Throughput,
)
from vlcal.certainty import KLEntropyCertainty, PlattCertainty, WindowLabeler
from vlcal.data.digits import DigitsDemonstrations
from vlcal.modules import ReinforcementModule, SupervisedModule
from vlcal.objectives import ExactReferenceKL, ExpectedScore, TruncatedImportance
from vlcal.policy import (
    FrozenCopy,
    GroupEngine,
    LanguageModel,
    LoRA,
    PolicySpec,
    RecomputedActivations,
    RolloutEngine,
    TransformersEngine,
    WholeModel,
)
from vlcal.probes import (
    AlteredReading,
    AnswerLikelihood,
    CorruptionCurve,
    ExpectedLevel,
    HiddenResponse,
    MeasuredCertainty,
    RemovedImage,
    ResponseLikelihood,
    SelfConsistency,
    SequenceLikelihood,
    StatedLevel,
    SwappedAnswer,
    SwappedVision,
    TrueProbability,
)
from vlcal.rewards import AccuracyReward, CalibrationReward, FormatReward, VisualReward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling
from vlcal.types import PromptBatch

Figures = dict[str, float]
Scenes = Callable[[int], PromptBatch]
Fit = Callable[..., list[Figures]]
WHERE = (DEVICE, "cpu")


class Noted(lightning.Callback):
    """Keeps what is logged, and checks that policy and module are where the trainer is."""

    def __init__(self) -> None:
        self.figures: list[Figures] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        assert str(pl_module.device) == str(pl_module.policy.device) == str(trainer.strategy.root_device)
        self._note(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer)

    def _note(self, trainer: Any) -> None:
        self.figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})


@pytest.fixture
def fit(device: PretendDevice, trainer: Callable[..., lightning.Trainer]) -> Fit:
    """Trains on a batch and validates it; gives the figures of both."""

    def run(
        where: str, module: lightning.LightningModule, batch: Any, *callbacks: lightning.Callback, **settings: Any
    ) -> list[Figures]:
        noted, loader = Noted(), DataLoader([batch], batch_size=None)
        lightning.seed_everything(0, verbose=False)
        trainer(where, *callbacks, noted, **settings).fit(module, loader, loader)
        return noted.figures

    return run


def assert_equal(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-5, equal_nan=True)


def test_warm_up_has_the_losses_of_the_cpu(embedded: Path, grammar: Grammar, fit: Fit) -> None:
    demonstrations = next(iter(DigitsDemonstrations(steps=1, batch_size=2, grammar=grammar).train_dataloader()))
    spec = PolicySpec(str(embedded), WholeModel(), dtype="float32", activations=RecomputedActivations())

    found, expected = (
        fit(where, SupervisedModule(spec, Optimization(lr=1e-3), grammar), demonstrations) for where in WHERE
    )

    assert found[1]["val/loss"] < found[0]["train/loss"]
    assert_equal(found, expected)


@pytest.mark.parametrize("engine", [GroupEngine, TransformersEngine])
def test_engines_sample_the_tokens_of_the_cpu(
    embedded: Path, grammar: Grammar, scenes: Scenes, device: PretendDevice, engine: type[TransformersEngine]
) -> None:
    def sampled(where: str) -> tuple[list[list[int]], torch.Tensor]:
        policy = PolicySpec(str(embedded), dtype="float32").build().to(where)
        rollouts = engine(6, temperature=0.7, top_p=0.9).sample(policy, policy.encode(scenes(2), grammar), 2, [3, 4])
        return rollouts.tokens.tolist(), rollouts.log_probs.cpu()

    (tokens, log_probs), (expected_tokens, expected) = (sampled(where) for where in WHERE)

    assert tokens == expected_tokens
    assert_equal(log_probs, expected)


def observers(folder: Path) -> list[lightning.Callback]:
    """Every observer, with every kind of probe and readout."""
    probes = {
        "hidden": HiddenResponse(),
        "removed": RemovedImage(),
        "corruption": CorruptionCurve(severities=(0.0, 1.0)),
        "vision": SwappedVision(),
        "answer": SwappedAnswer(),
        "altered": AlteredReading(readable=0.0),
    }
    readouts = {
        "stated": StatedLevel(),
        "expected": ExpectedLevel(),
        "measured": MeasuredCertainty(),
        "true": TrueProbability(),
        "answer": AnswerLikelihood(),
        "sequence": SequenceLikelihood(),
        "response": ResponseLikelihood(),
        "consistency": SelfConsistency(samples=1),
    }
    return [
        StrengthSchedule(0.4, 0.8),
        Throughput(),
        CollapseWatch(),
        CertaintyMonitor(),
        CompletionTable(),
        ReliabilityDiagram(folder / "diagrams"),
        PredictionWriter(folder / "predictions.jsonl"),
        ProbeWriter(folder / "probes.json", probes),
        ReadoutWriter(folder / "readouts.jsonl", readouts),
        ModelExport(folder / "export"),
    ]


def test_reinforcement_with_probes_readouts_and_every_observer_has_the_figures_of_the_cpu(
    embedded: Path,
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
    fit: Fit,
    tmp_path: Path,
) -> None:
    prompts = scenes(2)
    rewards = {"accuracy": AccuracyReward(), "format": FormatReward(), "calibration": CalibrationReward()}

    def run(where: str) -> tuple[list[Figures], list[Any], Any]:
        pipeline = make_pipeline(certainty=PlattCertainty(KLEntropyCertainty(WindowLabeler(64))))
        pipeline.rewards = {**rewards, "visual": VisualReward()}
        engines = replay(respond(prompts)), replay(respond(prompts, offsets=(0,), level=4))
        update = Update(confidence=ExpectedScore(), correction=TruncatedImportance(), minibatch_prompts=1)
        spec = PolicySpec(str(embedded), LoRA(2), dtype="float32")
        module = ReinforcementModule(spec, pipeline, Sampling(2, *engines), update, Optimization(lr=1e-3))
        folder = tmp_path / torch.device(where).type
        figures = fit(where, module, prompts, *observers(folder), logger=TensorBoardLogger(folder))
        written = [(folder / name).read_text() for name in ("predictions.jsonl", "readouts.jsonl", "probes.json")]
        lines = [json.loads(line) for text in written[:2] for line in text.splitlines()]
        return figures, lines, json.loads(written[2])

    (found, rows, probes), (expected, expected_rows, expected_probes) = (run(where) for where in WHERE)

    assert found[0]["train/objective/gradient_norm"] > 0
    assert_equal(found, expected)
    assert_equal(numbers(rows), numbers(expected_rows))
    assert_equal(numbers(probes), numbers(expected_probes))
    assert probes["hidden"]["responses"]["used"] == probes["vision"]["responses"]["used"] == 2


def numbers(value: Any) -> list[float]:
    """All numbers in what was written, in order."""
    if isinstance(value, (dict, list)):
        return [number for item in (value.values() if isinstance(value, dict) else value) for number in numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


def test_a_policy_beside_a_frozen_copy_learns_as_on_the_cpu(
    embedded: Path,
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
    fit: Fit,
) -> None:
    prompts = scenes(2)

    def module() -> ReinforcementModule:
        sampling = Sampling(2, replay(respond(prompts)), GroupEngine(6))
        spec = PolicySpec(str(embedded), LanguageModel(), dtype="float32")
        update = Update(reference=FrozenCopy(), reference_kl=ExactReferenceKL(0.1))
        return ReinforcementModule(spec, make_pipeline(), sampling, update, Optimization(lr=1e-4))

    found, expected = (fit(where, module(), prompts) for where in WHERE)

    assert found[0]["train/objective/gradient_norm"] > 0 and found[1]["val/calibration/n"] == 2
    assert_equal(found, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_goes_through_the_whole_step(
    embedded: Path, make_pipeline: Callable[..., Pipeline], scenes: Scenes, fit: Fit, dtype: str
) -> None:
    sampling = Sampling(2, GroupEngine(6), TransformersEngine(6))
    spec = PolicySpec(str(embedded), LoRA(2), dtype=dtype)
    module = ReinforcementModule(spec, make_pipeline(), sampling, Update(), Optimization(lr=1e-3))

    found = fit(DEVICE, module, scenes(2))

    assert found[0]["train/response/sampling_mismatch"] < 0.05
    assert torch.isfinite(torch.tensor(found[0]["train/objective/gradient_norm"]))
