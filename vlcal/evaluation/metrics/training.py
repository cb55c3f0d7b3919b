"""The metrics logged in training and validation, over batches and ranks: the formulas of this package around torch.

This is the one file of the package that imports torch; only modules and callbacks need it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vlcal.evaluation.metrics.calibration import ece_equal_width
from vlcal.evaluation.metrics.levels import RIGHT, Floats
from vlcal.evaluation.metrics.proper import brier
from vlcal.evaluation.metrics.ranking import auroc, within_auroc
from vlcal.evaluation.metrics.responses import Ranked
from vlcal.types import Assessment

TRUTHS = {"overall": "correct", "visual": "perception_correct", "reasoning": "reasoning_correct"}
"""Each kind of confidence and the outcome it is compared with."""


@dataclass(frozen=True)
class Outcomes:
    """One row per response, (N,) each; NaN where a value is absent or unknown.

    Args:
        prompt: A key of the prompt that was answered: equal where the id is, in every process.
        correct: The verifier's verdict on the answer.
        overall: Stated overall confidence.
        visual: Stated visual confidence.
        reasoning: Stated reasoning confidence.
        perception_correct: Whether the stated reading of the image is the true one.
        reasoning_correct: Whether the answer follows from the stated reading.
        certainty: Score of the label-free visual certainty, of any scale.
        well_formed: Whether the text matches the grammar.
        clearness: How little the image was perturbed, where the data set knows: an upper limit of visual confidence.
    """

    prompt: NDArray[np.int64]
    correct: Floats
    overall: Floats
    visual: Floats
    reasoning: Floats
    perception_correct: Floats
    reasoning_correct: Floats
    certainty: Floats
    well_formed: Floats
    clearness: Floats

    def __len__(self) -> int:
        return len(self.correct)

    @classmethod
    def of(cls, assessment: Assessment) -> Outcomes:
        """The outcomes of one batch."""
        said, prompts = assessment.responses, assessment.prompts
        clearness = torch.tensor([float(extra.get("clearness", math.nan)) for extra in prompts.extras])
        columns = {
            "correct": said.correct,
            "overall": said.overall,
            "visual": said.visual,
            "reasoning": said.reasoning,
            "perception_correct": said.perception_correct,
            "reasoning_correct": said.reasoning_correct,
            "certainty": assessment.certainty.score,
            "well_formed": said.well_formed,
            "clearness": clearness.repeat_interleave(assessment.rollouts.group_size),
        }
        prompt = np.array([_key(name) for name in prompts.ids], np.int64).repeat(assessment.rollouts.group_size)
        return cls(prompt, **{name: column.detach().cpu().double().numpy() for name, column in columns.items()})

    @classmethod
    def join(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Several batches as one."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def pairs(self) -> dict[str, tuple[Floats, Floats]]:
        """Each kind of confidence with the outcome it is compared with."""
        return {kind: (getattr(self, kind), getattr(self, truth)) for kind, truth in TRUTHS.items()}


MEASURED = tuple(f.name for f in fields(Outcomes) if f.name != "prompt")


def summarize(outcomes: Outcomes) -> dict[str, float]:
    """Accuracy, calibration and discrimination of each confidence against its own outcome, by their names in the log.

    ECE has ten bins of equal width. ECE, AUROC and Brier score count an absent confidence as `WrongAndUnsure` does, the
    AUROC of the label-free certainty and of the clearness, which are no confidences, as `Ranked`. A mean leaves out
    what is absent or unknown. A metric is NaN where no outcome is known; the AUROC within prompts is left out where no
    prompt has both a right and a wrong response.
    """
    means = {
        "accuracy": outcomes.correct,
        "parse_rate": outcomes.well_formed,
        "read_rate": outcomes.perception_correct,
        "reasoning_rate": outcomes.reasoning_correct,
        **{f"mean_{kind}": confidence for kind, (confidence, _) in outcomes.pairs().items()},
    }
    scores = {
        "certainty_auroc": (outcomes.certainty, outcomes.perception_correct),
        "clearness_auroc": (outcomes.clearness, outcomes.perception_correct),
        "clearness_overall_auroc": (outcomes.clearness, outcomes.correct),
    }
    metrics = {"n": float(len(outcomes)), **{name: _mean(values) for name, values in means.items()}}
    metrics["reasoning_wrong"] = float((outcomes.reasoning_correct < RIGHT).sum())
    for kind, pair in outcomes.pairs().items():
        prefix = "" if kind == "overall" else f"{kind}_"
        metrics[f"{prefix}ece"] = ece_equal_width(*pair)
        metrics[f"{prefix}auroc"] = auroc(*pair)
        metrics[f"{prefix}brier"] = brier(*pair)
        within = within_auroc(*pair, question=outcomes.prompt)
        if not math.isnan(within):
            metrics[f"{prefix}within_auroc"] = within
    return metrics | {name: auroc(*pair, Ranked()) for name, pair in scores.items()}


class CalibrationMetrics(Metric):
    """`summarize` over all batches and ranks, as a torchmetrics module.

    It keeps every response, since most of the metrics cannot be averaged over batches. A distributed sampler repeats
    prompts until every rank has the same number: over several ranks, each response to a prompt counts once.
    """

    is_differentiable = False
    full_state_update = False
    rows: list[Tensor]
    keys: list[Tensor]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("keys", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all responses."""
        super().reset()
        # A rank without a batch must still take part in the gathering, with tensors of the same shape and type.
        self.rows.append(torch.empty(0, len(MEASURED), device=self.device))
        self.keys.append(torch.empty(0, 2, dtype=torch.long, device=self.device))

    def update(self, outcomes: Outcomes) -> None:
        """Take in one batch, with all responses to its prompts."""
        columns = np.stack([getattr(outcomes, name) for name in MEASURED], 1)
        keys = np.stack([outcomes.prompt, _members(outcomes.prompt)], 1)
        self.rows.append(torch.tensor(columns, dtype=torch.float32, device=self.device))
        self.keys.append(torch.tensor(keys, dtype=torch.long, device=self.device))

    def compute(self) -> dict[str, float]:
        """Metric name -> value over everything so far."""
        rows, keys = dim_zero_cat(self.rows).cpu().double().numpy(), dim_zero_cat(self.keys).cpu().numpy()
        if torch.distributed.is_initialized():
            first = np.sort(np.unique(keys, axis=0, return_index=True)[1])
            rows, keys = rows[first], keys[first]
        return summarize(Outcomes(keys[:, 0], *rows.T))


def _members(prompt: NDArray[np.int64]) -> NDArray[np.intp]:
    """How many responses to the same prompt stand ahead of each."""
    order = np.argsort(prompt, kind="stable")
    members = np.empty(len(prompt), np.intp)
    members[order] = np.arange(len(prompt)) - np.searchsorted(prompt[order], prompt[order])
    return members


def _key(name: str) -> int:
    """A hash of 64 bits that is the same in every process."""
    content = name.encode(errors="backslashreplace")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), signed=True)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
