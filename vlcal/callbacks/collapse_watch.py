"""Collapse, a known failure: the stated confidences become one number for all images."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from vlcal.callbacks.observer import Observer
from vlcal.errors import UserError
from vlcal.evaluation.metrics import distinct_values, value_entropy
from vlcal.types import Assessment


class CollapseWatch(Observer):
    """Logs how varied the stated confidences are and how many groups have no advantage; warns once when they collapse.

    For the visual, the reasoning and the overall confidence: number of distinct values and their entropy in nats.
    Also the share of groups whose rewards are all equal, which have no advantage, and the parse rate.

    Args:
        minimum_distinct: Fewest distinct values of a confidence in a batch that count as varied.
        patience: Training batches in a row with fewer before it warns.
    """

    def __init__(self, minimum_distinct: int = 3, patience: int = 20) -> None:
        if minimum_distinct < 2:
            raise UserError(
                f"`minimum_distinct` must be at least 2, since any stated confidence makes one value; got "
                f"{minimum_distinct}."
            )
        if patience < 1:
            raise UserError(f"`patience` must be at least 1; got {patience}.")
        self.minimum_distinct = minimum_distinct
        self.patience = patience
        self._narrow = dict.fromkeys(("visual", "reasoning", "overall"), 0)
        self._warned = False

    def state_dict(self) -> dict[str, Any]:
        """For how many steps each confidence was narrow, and whether that was said."""
        return {"narrow": dict(self._narrow), "warned": self._warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting where a checkpoint left off."""
        self._narrow, self._warned = dict(state_dict["narrow"]), state_dict["warned"]

    def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
        if stage != "train":
            return
        said = assessment.responses
        metrics = {"flat_groups": flat_groups(assessment), "parse_rate": float(said.well_formed.float().mean())}
        for name, stated in (("visual", said.visual), ("reasoning", said.reasoning), ("overall", said.overall)):
            count, distinct, entropy = variety(stated)
            metrics |= {f"{name}_distinct": float(distinct)}
            metrics |= {f"{name}_entropy": entropy} if distinct else {}
            if count >= self.minimum_distinct:  # fewer responses cannot have that many values
                self._narrow[name] = self._narrow[name] + 1 if distinct < self.minimum_distinct else 0
        named = {f"train/collapse/{name}": value for name, value in metrics.items()}
        pl_module.log_dict(named, batch_size=len(assessment.prompts))
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
    """How many confidences were stated, how many distinct values among them, and their entropy in nats."""
    # Overall confidences of equal pairs may differ in the last bit, depending on the order of the pair.
    rounded = stated.detach().cpu().double().numpy().round(4)
    unknown = np.full(len(rounded), np.nan)
    return int((~np.isnan(rounded)).sum()), int(distinct_values(rounded, unknown)), value_entropy(rounded, unknown)


def flat_groups(assessment: Assessment) -> float:
    """The share of groups whose rewards are all equal."""
    groups = assessment.rewards.total.view(-1, assessment.rollouts.group_size)
    return float((groups == groups[:, :1]).all(1).float().mean())
