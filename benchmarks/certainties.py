"""How well each label-free certainty tells right readings from wrong ones, and right conclusions from wrong ones.

    python benchmarks/certainties.py --policy runs/demo/warm --output runs/certainties.json

Scenes of unseen handwriting, several responses to each, every certainty from the same passes over the same responses.
AUROC over all responses, and within a scene: of a right and a wrong response to the same question. 95 % intervals from
1,000 draws of the scenes. The truth of a reading is that of the scene, of a conclusion whether it follows from what was
read. The policy is any folder that `ModelExport` or `vlcal export` writes. Some two minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from machine import machine
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vlcal.certainty import (
    AgreementCertainty,
    CertaintyEstimator,
    EntropyCertainty,
    KLCertainty,
    KLEntropyCertainty,
    LikelihoodCertainty,
    LogRatioCertainty,
    MinimumLikelihoodCertainty,
)
from vlcal.data.digits import DigitsOracle, DigitsPrompts
from vlcal.data.digits.datamodule import prompt_batch
from vlcal.evaluation.metrics import LeaveOut, Ranked, ScoredResponses
from vlcal.evaluation.metrics.estimates import Estimate
from vlcal.evaluation.metrics.table import metric_estimates
from vlcal.perturbations import PatchMask
from vlcal.policy import GroupEngine, Policy, PolicySpec
from vlcal.rewards import ZeroReward
from vlcal.text import Grammar
from vlcal.training import Pipeline, ResponseReader, SamplingPlan
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.limits import Limits
from vlcal.types import Assessment

ESTIMATORS: Mapping[str, CertaintyEstimator] = {
    "KL and entropy, published": KLEntropyCertainty(),
    "KL": KLCertainty(),
    "entropy": EntropyCertainty(),
    "log-ratio to the perturbed image": LogRatioCertainty(),
    "likelihood": LikelihoodCertainty(),
    "least likely token": MinimumLikelihoodCertainty(),
    "agreement in the group": AgreementCertainty(),
}
METRICS = ("auroc", "within_auroc")
BUDGET = 16384  # tokens at once

Figures = dict[str, list[float]]  # value, low and high of each metric


def responses(policy: Policy, scenes: int, plan: SamplingPlan, chunk: int = 64) -> Assessment:
    """Responses to scenes of unseen handwriting, with all that certainty is made of."""
    grammar, unseen = Grammar(instructions=""), DigitsPrompts(held_out=scenes).unseen
    pipeline = Pipeline(ResponseReader(grammar, oracle=DigitsOracle()), {"none": ZeroReward()}, PatchMask(0.8))
    prompts = prompt_batch([unseen[number] for number in range(scenes)])
    return pipeline.assess(policy, ChunkedPrompts(policy, prompts, grammar, chunk), plan, Limits(BUDGET))


def discrimination(score: Tensor, truth: Tensor, questions: list[str], draws: int) -> Figures:
    """How well a score of any scale ranks what is true above what is not; responses without a score are left out."""
    outcome = truth.double().numpy()
    ranks, _ = Ranked()(score.double().numpy(), outcome)
    scored = ScoredResponses(ranks, outcome, np.array(questions), np.full(len(questions), "digits"))
    found = metric_estimates(scored, METRICS, draws, absent=LeaveOut())
    return {name: _triple(estimate) for name, estimate in found.items()}


def _triple(estimate: Estimate) -> list[float]:
    return [round(value, 4) for value in (estimate.value, estimate.low, estimate.high)]


def figures(assessment: Assessment, draws: int = 1000) -> dict[str, dict[str, Figures]]:
    """Of each certainty its figures on readings and, where it says anything of them, on conclusions."""
    said, rollouts = assessment.responses, assessment.rollouts
    questions = [name for name in assessment.prompts.ids for _ in range(rollouts.group_size)]
    found = {}
    for name, estimator in ESTIMATORS.items():
        certainty = estimator(assessment.evidence, rollouts, said)
        found[name] = {"reading": discrimination(certainty.score, said.perception_correct, questions, draws)}
        if certainty.reasoning.isfinite().any():
            concluded = discrimination(certainty.reasoning, said.reasoning_correct, questions, draws)
            found[name]["conclusion"] = concluded
    return found


def table(found: Mapping[str, Mapping[str, Figures]]) -> Table:
    """One row for each certainty."""
    shown = Table("certainty", "reading", "within a scene", "conclusion", "within a scene")
    for name, kinds in found.items():
        cells = [
            "{:.3f} [{:.3f}, {:.3f}]".format(*kinds[kind][metric]) if kind in kinds else ""
            for kind in ("reading", "conclusion")
            for metric in METRICS
        ]
        shown.add_row(name, *cells)
    return shown


def main() -> None:
    """Measure every certainty on one policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, required=True, help="folder of the policy")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--group_size", type=int, default=4, help="responses to each scene")
    parser.add_argument("--temperature", type=float, default=0.6, help="they are sampled at")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start, policy = time.monotonic(), PolicySpec(str(given.policy), dtype="float32").build()
    plan = SamplingPlan(GroupEngine(72, given.temperature), given.group_size, seed=0)
    assessment = responses(policy, given.scenes, plan)
    found = figures(assessment)
    said = assessment.responses
    counted = {
        "responses": len(said),
        "right": float(said.correct.mean()),
        "right_readings": float(said.perception_correct.nanmean()),
        "right_conclusions": float(said.reasoning_correct.nanmean()),
        "well_formed": float(said.well_formed.float().mean()),
        "seconds": round(time.monotonic() - start, 1),
    }
    console = Console()
    console.print(table(found), counted)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        settings = {name: getattr(given, name) for name in ("scenes", "group_size", "temperature")}
        written = {**settings, **counted, "machine": machine("cpu"), "certainties": found}
        given.output.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
