"""The known failure: stated confidences that become one number for all images."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from vlcal.callbacks.observer import Observer
from vlcal.types import Experience


class CollapseWatch(Observer):
    """Logs how varied the stated confidences are and how many groups teach nothing; warns once when they collapse.

    For the visual, the reasoning and the overall confidence: number of distinct values and their entropy in nats.
    Beside it the share of groups whose rewards are all equal, which have no advantage, and the parse rate.

    Args:
        minimum_distinct: Fewest distinct values of a confidence in a batch that count as varied.
        patience: Training batches in a row with fewer before it warns.
    """

    def __init__(self, minimum_distinct: int = 3, patience: int = 20) -> None:
        if minimum_distinct < 2:
            raise ValueError(
                f"`minimum_distinct` must be at least 2, since one value is stated by whoever states any; got "
                f"{minimum_distinct}."
            )
        if patience < 1:
            raise ValueError(f"`patience` must be at least 1; got {patience}.")
        self.minimum_distinct = minimum_distinct
        self.patience = patience
        self._narrow = dict.fromkeys(("visual", "reasoning", "overall"), 0)
        self._warned = False

    def observe(self, trainer: Trainer, pl_module: LightningModule, experience: Experience, stage: str) -> None:
        if stage != "train":
            return
        said = experience.responses
        figures = {"flat_groups": flat_groups(experience), "parse_rate": float(said.well_formed.float().mean())}
        for name, stated in (("visual", said.visual), ("reasoning", said.reasoning), ("overall", said.overall)):
            count, distinct, entropy = variety(stated)
            figures |= {f"{name}_distinct": float(distinct)}
            figures |= {f"{name}_entropy": entropy} if distinct else {}
            if count >= self.minimum_distinct:  # fewer cannot be varied, and say nothing either way
                self._narrow[name] = self._narrow[name] + 1 if distinct < self.minimum_distinct else 0
        named = {f"train/collapse/{name}": value for name, value in figures.items()}
        pl_module.log_dict(named, batch_size=len(experience.prompts))
        self._warn()

    def _warn(self) -> None:
        narrow = [name for name, steps in self._narrow.items() if steps >= self.patience]
        if not narrow or self._warned:
            return
        self._warned = True
        rank_zero_warn(
            f"Fewer than {self.minimum_distinct} distinct values of the {' and '.join(narrow)} confidence were stated "
            f"in each of {self.patience} training batches: the policy states nearly one number for all images. Lower "
            "the learning rate, take more prompts with fewer completions each, learn from ExpectedScore in place of "
            "SampledConfidence, or raise the sampling temperature."
        )


def variety(stated: Float[Tensor, " N"]) -> tuple[int, int, float]:
    """How many confidences were stated, how many values among them, and the entropy of these in nats."""
    present = stated[~stated.isnan()]
    # Overall confidences of equal pairs may differ in the last bit, in whichever order the pair stood.
    counts = torch.unique((present * 1e4).round(), return_counts=True)[1].double()
    shares = counts / counts.sum()
    return len(present), len(counts), abs(float(-(shares * shares.log()).sum())) if len(counts) else math.nan


def flat_groups(experience: Experience) -> float:
    """The share of groups whose rewards are all equal."""
    groups = experience.rewards.total.view(-1, experience.rollouts.group_size)
    return float((groups == groups[:, :1]).all(1).float().mean())
