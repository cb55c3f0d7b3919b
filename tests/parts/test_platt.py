from __future__ import annotations

import pytest
import torch

from vlcal.certainty import CertaintyEstimator, PlattCertainty
from vlcal.types import Certainty, Evidence, Responses, Rollouts, Spans


class Given(CertaintyEstimator):
    """Certainty with scores that a test chose."""

    def __init__(self, score: torch.Tensor) -> None:
        self.score = score

    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        rows = len(self.score)
        return Certainty(token=torch.full((rows, 1), 0.5), response=torch.full((rows,), 0.25), score=self.score)


def certainty(estimator: CertaintyEstimator, correct: torch.Tensor) -> Certainty:
    rows = len(correct)
    none = torch.zeros(rows, 1, dtype=torch.bool)
    unknown = torch.full((rows,), torch.nan)
    responses = Responses(
        answers=("",) * rows,
        well_formed=none[:, 0],
        correct=correct,
        visual=unknown,
        reasoning=unknown,
        overall=unknown,
        perception_correct=unknown,
        reasoning_correct=unknown,
        spans=Spans(none, none, none, none, none),
    )
    rollouts = Rollouts(none.long(), none, torch.zeros(rows, 1), ("",) * rows, none[:, 0], 1)
    return estimator(Evidence(*[torch.zeros(rows, 1)] * 3), rollouts, responses)


def test_labels_are_the_share_of_right_answers_at_a_score() -> None:
    score = torch.tensor([0.0, 1.0]).repeat(500)
    correct = torch.zeros(1000)
    correct[0::2][:100] = 1.0  # one in five at score 0
    correct[1::2][:450] = 1.0  # nine in ten at score 1

    labels = certainty(PlattCertainty(Given(score)), correct).response

    assert torch.allclose(labels[:2], torch.tensor([0.2, 0.9]), atol=0.02)


def test_the_ranking_of_the_scores_is_kept_and_an_absent_one_stays_absent() -> None:
    score = torch.linspace(-2, 2, 200)
    score[7] = torch.nan
    labels = certainty(PlattCertainty(Given(score)), (torch.arange(200) % 3 < torch.arange(200) / 80).float()).response

    assert labels[7].isnan()
    known = labels[~labels.isnan()]
    assert (known.diff() > 0).all() or (known.diff() < 0).all()


@pytest.mark.parametrize("correct", [torch.ones(100), torch.zeros(100)])
def test_without_right_and_wrong_answers_the_other_label_stands(correct: torch.Tensor) -> None:
    assert (certainty(PlattCertainty(Given(torch.randn(100))), correct).response == 0.25).all()


def test_what_it_remembers_can_be_saved_and_restored() -> None:
    torch.manual_seed(0)
    score = torch.randn(100)
    first, second = PlattCertainty(Given(score)), PlattCertainty(Given(score))
    certainty(first, (score > 0).float())
    second.load_state_dict(first.state_dict())

    answers = torch.randint(2, (100,)).float()
    assert torch.equal(certainty(first, answers).response, certainty(second, answers).response)


def test_too_small_a_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="`size` must be at least 64"):
        PlattCertainty(size=10)
