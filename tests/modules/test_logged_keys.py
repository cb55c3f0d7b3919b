"""docs/guide/curves.md: the keys of real runs are those that the page explains."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader

from vlcal.advantages import VisualCertaintyReweighter
from vlcal.callbacks import (
    CertaintyMonitor,
    CollapseWatch,
    CounterfactualSchedule,
    MixtureSchedule,
    ProbeWriter,
    ReadoutWriter,
    RewardWeightSchedule,
    ReweightingSchedule,
    SharpnessSchedule,
    StrengthSchedule,
    Throughput,
)
from vlcal.certainty import JointCertainty, KLEntropyCertainty, LikelihoodCertainty
from vlcal.data.digits import DigitsDemonstrations
from vlcal.modules import ReinforcementModule, SupervisedModule
from vlcal.objectives import DistilledCertainty, ExpectedScore
from vlcal.perturbations import Blank, Mixture, PatchMask
from vlcal.policy import LoRA, PolicySpec, RolloutEngine
from vlcal.probes import AlteredReading, StatedLevel
from vlcal.text import Grammar
from vlcal.training import GroupReadings
from vlcal.training.learner import Update
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling
from vlcal.types import PromptBatch

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "curves.md"
# Pictures and texts, which are no figures, and what only a GPU has.
NOT_HERE = re.compile(r".*/(reliability|completions/table|completions/pictured|memory/peak_gib)$")


class Recorder(Logger):
    """Keeps the names of what a run logs."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    @property
    def name(self) -> str:
        return "recorder"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.keys |= metrics.keys() - {"epoch"}

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """None of interest."""


@pytest.fixture
def logged(trainer: Callable[..., lightning.Trainer]) -> Callable[..., set[str]]:
    """Fits a module on one batch, validates and tests it on the same; what was logged."""

    def run(
        module: lightning.LightningModule, batch: Any, *callbacks: lightning.Callback, test: bool = False
    ) -> set[str]:
        recorder, loader = Recorder(), DataLoader([batch], batch_size=None)
        made = trainer(callbacks=list(callbacks), logger=recorder, log_every_n_steps=1, num_sanity_val_steps=0)
        made.fit(module, loader, loader)
        if test:
            made.test(module, loader, verbose=False)
        return recorder.keys

    return run


@pytest.fixture
def keys(
    logged: Callable[..., set[str]],
    embedded: Path,
    tmp_path: Path,
    scenes: Callable[[int], PromptBatch],
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
    make_pipeline: Callable[..., Pipeline],
    grammar: Grammar,
) -> set[str]:
    """Of a run with every term of the loss and every callback that logs, and of a warm-up."""
    prompts, spec = scenes(2), PolicySpec(str(embedded), LoRA(2), dtype="float32")
    texts = respond(prompts)  # of each prompt one that is right, and one that is wrong
    texts[1] = texts[1].replace("<vision>", "<vision>0")  # misread, so that readings differ within the first prompt
    engine = replay(texts)
    pipeline = make_pipeline(
        perturbation=Mixture([PatchMask(), Blank()], [1.0, 1.0]),
        certainty=JointCertainty(visual=KLEntropyCertainty()),
        reweighter=VisualCertaintyReweighter(),
    )
    sampling = Sampling(2, engine, engine, validation_group_size=2)
    module = ReinforcementModule(spec, pipeline, sampling, Update(confidence=ExpectedScore(reasoning_weight=1.0)))
    callbacks = (
        *(CertaintyMonitor(), CollapseWatch(), Throughput()),
        *(StrengthSchedule(1.0, 0.5), MixtureSchedule([1.0, 1.0], [1.0, 0.0]), ReweightingSchedule(0.1, 0.2)),
        RewardWeightSchedule("format", 0.5, 0.1),
        ProbeWriter(tmp_path / "probes.json", {"altered": AlteredReading(readable=0.0)}),
        ReadoutWriter(tmp_path / "readouts.jsonl", {"stated": StatedLevel()}),
    )
    demonstrations = next(iter(DigitsDemonstrations(steps=1, batch_size=2, grammar=grammar).train_dataloader()))
    warm_up = logged(SupervisedModule(spec, grammar=grammar), demonstrations)
    sampling = Sampling(3, engine, engine, starts=GroupReadings())
    distilled = ReinforcementModule(
        spec, make_pipeline(certainty=LikelihoodCertainty()), sampling, Update(confidence=DistilledCertainty())
    )
    schedules = (SharpnessSchedule(0.0, 0.5), CounterfactualSchedule(1.0, 0.5))
    return warm_up | logged(module, prompts, *callbacks, test=True) | logged(distilled, prompts, *schedules)


def explained() -> list[str]:
    """The keys in the tables of the page, of which words in capitals are names of the reader's own."""
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    found = [key for row in rows for cell in row[:2] for key in re.findall(r"`((?:train|val|test)/[\w/]+)`", cell)]
    judged = [key.replace("val/", "test/", 1) for key in found if key.startswith("val/calibration/")]
    return [*found, *judged]


def pattern(key: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"[A-Z]+", r"\\w+", key))


def test_the_page_explains_every_logged_key_and_every_key_on_it_is_logged(keys: set[str]) -> None:
    patterns = {key: pattern(key) for key in explained()}

    assert sorted(key for key in keys if not any(each.fullmatch(key) for each in patterns.values())) == []
    absent = [key for key, each in patterns.items() if not any(map(each.fullmatch, keys))]
    assert [key for key in absent if not NOT_HERE.match(key)] == []


def test_no_key_is_explained_twice() -> None:
    found = [key for key in explained() if not NOT_HERE.match(key)]

    assert sorted({key for key in found if found.count(key) > 1}) == []
