"""The table of certainties, on scores and responses whose figures are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from certainties import ESTIMATORS, discrimination, figures, responses, table

from vlcal.policy import Policy, RolloutEngine
from vlcal.training import SamplingPlan
from vlcal.types import PromptBatch

NAN = float("nan")


def test_a_score_of_any_scale_is_ranked_over_all_and_within_a_question() -> None:
    """Over all, one of four pairs is in the wrong order; within a question there is one pair, in the right order."""
    score = torch.tensor([-5.0, -9.0, 300.0, 20.0, NAN])
    truth = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])

    found = discrimination(score, truth, ["a", "a", "b", "c", "c"], draws=20)

    assert found["auroc"][0] == 0.75 and found["within_auroc"][0] == 1.0


def test_every_certainty_has_a_row_with_its_figures_on_readings(
    frozen_policy: Policy, replay: Callable[..., RolloutEngine], respond: Callable[..., list[str]]
) -> None:
    def answered(prompts: PromptBatch) -> RolloutEngine:
        texts = respond(prompts, offsets=(0, 0))
        wrong = texts[1].replace("<vision>", "<vision>9")
        return replay([texts[0], wrong, *texts[2:]])

    unread = responses(frozen_policy, 2, SamplingPlan(replay(["", "", "", ""]), 2, 0))
    assessment = responses(frozen_policy, 2, SamplingPlan(answered(unread.prompts), 2, 0))

    found = figures(assessment, draws=0)

    assert found.keys() == ESTIMATORS.keys() and table(found).row_count == len(ESTIMATORS)
    assert assessment.responses.perception_correct.tolist() == [1, 0, 1, 1]
    assert all(not math.isnan(kinds["reading"]["auroc"][0]) for kinds in found.values())
    assert {name for name, kinds in found.items() if "conclusion" in kinds} == {
        "likelihood",
        "least likely token",
        "agreement in the group",
    }
