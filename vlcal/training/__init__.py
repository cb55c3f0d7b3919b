"""The step: from prompts to experience, from experience to the loss, from the loss to updated weights."""

from vlcal.training.guard import FiniteGuard
from vlcal.training.learner import Learner, Update
from vlcal.training.optimization import Optimization, Optimizer, PagedAdamW8bit, TorchAdamW
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import Sampling, SamplingPlan

__all__ = [
    "FiniteGuard",
    "Learner",
    "Optimization",
    "Optimizer",
    "PagedAdamW8bit",
    "Pipeline",
    "ResponseReader",
    "Sampling",
    "SamplingPlan",
    "TorchAdamW",
    "Update",
]
