"""The step: from prompts to experience, from experience to the loss, from the loss to updated weights."""

from vlcal.training.counterfactual import (
    AlteredReadings,
    Counterfactuals,
    GroupReadings,
    PerturbedReadings,
)
from vlcal.training.forked import ForkedReadings
from vlcal.training.guard import FiniteGuard
from vlcal.training.learner import Learner, Update
from vlcal.training.optimization import Optimization, Optimizer, PagedAdamW8bit, TorchAdamW
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import Sampling, SamplingPlan
from vlcal.training.starts import FreeStarts, Starts

__all__ = [
    "AlteredReadings",
    "Counterfactuals",
    "FiniteGuard",
    "ForkedReadings",
    "FreeStarts",
    "GroupReadings",
    "Learner",
    "Optimization",
    "Optimizer",
    "PagedAdamW8bit",
    "PerturbedReadings",
    "Pipeline",
    "ResponseReader",
    "Sampling",
    "SamplingPlan",
    "Starts",
    "TorchAdamW",
    "Update",
]
