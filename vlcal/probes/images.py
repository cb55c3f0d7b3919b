"""Confidences under a removed or corrupted image."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from vlcal.errors import UserError
from vlcal.parts import fresh_defaults
from vlcal.perturbations import GaussianNoise, Perturbation
from vlcal.probes.base import KINDS, Columns, Probe, counts, known_mean
from vlcal.probes.study import Study, without_images
from vlcal.training.sampling import draw_seed
from vlcal.types import PromptBatch, Responses

SEVERITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class RemovedImage(Probe):
    """Samples again without the image, where a calibrated visual confidence is 0.

    Questions without an image are left out. `change` is over the responses that state the confidence both times; a
    policy whose responses are rarely well-formed without an image leaves few of them.
    """

    def __call__(self, study: Study) -> Columns:
        blind = study.answers_to(without_images(study.assessment.prompts), "removed image")
        return {**_columns("before", study, study.assessment.responses), **_columns("after", study, blind)}

    def summarize(self, columns: Columns) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for figure in ("accuracy", *KINDS, "parse_rate"):
            before, after = columns[f"before {figure}"], columns[f"after {figure}"]
            figures[figure] = {
                "before": known_mean(before),
                "after": known_mean(after),
                "change": known_mean(after - before),
            }
        return {**figures, "responses": counts(columns["before parse_rate"])}


class CorruptionCurve(Probe):
    """Samples again at rising severities of a perturbation: a calibrated confidence falls as far as accuracy does.

    The random draws for image and answer are the same at all severities. Questions without an image are left out.

    Args:
        perturbation: The perturbation; its strength is set to each severity.
        severities: Strengths in [0, 1], rising.
    """

    @fresh_defaults
    def __init__(self, perturbation: Perturbation = GaussianNoise(), severities: Sequence[float] = SEVERITIES) -> None:
        rising = all(low < high for low, high in pairwise(severities))
        if len(severities) < 2 or not rising or not 0 <= severities[0] <= severities[-1] <= 1:
            raise UserError(f"`severities` must be two or more rising numbers in [0, 1]; got {list(severities)}.")
        if _at(perturbation, severities[-1]).strength != severities[-1]:
            raise UserError(
                f"`perturbation` must have a strength that can be set; that of {type(perturbation).__name__} stays "
                f"{perturbation.strength}. Take GaussianNoise, Blur or PatchMask."
            )
        self.perturbation = perturbation
        self.severities = tuple(severities)

    def __call__(self, study: Study) -> Columns:
        columns: dict[str, Tensor] = {}
        for severity in self.severities:
            answers = study.answers_to(self.perturbed(study, severity), "corruption")
            columns |= _columns(str(severity), study, answers)
        return columns

    def summarize(self, columns: Columns) -> dict[str, Any]:
        curves = {
            figure: [known_mean(columns[f"{severity} {figure}"]) for severity in self.severities]
            for figure in ("accuracy", "read_rate", *KINDS, "parse_rate")
        }
        agreement = {kind: _rank_correlation(curves[kind], curves["accuracy"]) for kind in KINDS}
        return {
            "severity": list(self.severities),
            **curves,
            "rank_correlation_with_accuracy": agreement,
            "responses": counts(columns[f"{self.severities[0]} parse_rate"]),
        }

    def perturbed(self, study: Study, severity: float) -> PromptBatch:
        """The prompts of the study with their images perturbed at `severity`."""
        prompts, perturbation = study.assessment.prompts, _at(self.perturbation, severity)
        perturbed = []
        for name, images in zip(prompts.ids, prompts.images, strict=True):
            seeds = [draw_seed(study.seed, "corruption", name, str(place)) for place in range(len(images))]
            rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
            pairs = zip(images, rngs, strict=True)
            perturbed.append(tuple(perturbation(image, rng, study.policy.grid(image)) for image, rng in pairs))
        return prompts.with_images(tuple(perturbed))


def _at(perturbation: Perturbation, strength: float) -> Perturbation:
    """A copy of the perturbation at another strength."""
    moved = copy.deepcopy(perturbation)
    moved.strength = strength
    return moved


def _columns(when: str, study: Study, said: Responses) -> dict[str, Tensor]:
    """Confidences and correctness of responses; NaN where the question has no image."""
    shown = [bool(study.assessment.prompts.images[owner]) for owner in study.prompt_index]
    blank = ~torch.tensor(shown, device=said.correct.device)
    columns = {
        "accuracy": said.correct,
        "read_rate": said.perception_correct,
        "overall": said.overall,
        "visual": said.visual,
        "reasoning": said.reasoning,
        "parse_rate": said.well_formed.float(),
    }
    return {f"{when} {name}": values.masked_fill(blank, torch.nan) for name, values in columns.items()}


def _rank_correlation(curve: Sequence[float | None], accuracy: Sequence[float | None]) -> float | None:
    """Spearman's rank correlation of two curves; None where one is constant or incomplete."""
    if None in curve or None in accuracy or len(set(curve)) == 1 or len(set(accuracy)) == 1:
        return None
    return round(float(spearmanr(curve, accuracy).statistic), 6)
