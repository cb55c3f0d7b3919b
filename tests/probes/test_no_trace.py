"""Asking leaves no trace, and asking again gives the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.probes.studies import MakeStudy
from vlcal.policy import GroupEngine
from vlcal.probes import (
    AnswerLikelihood,
    CorruptionCurve,
    ExpectedLevel,
    HiddenResponse,
    MeasuredCertainty,
    Probe,
    Readout,
    RemovedImage,
    SelfConsistency,
    SequenceLikelihood,
    StatedLevel,
    SwappedAnalysis,
    SwappedAnswer,
    SwappedReasoning,
    SwappedVision,
    TrueProbability,
)
from vlcal.types import PromptBatch

ASKED: list[Probe | Readout] = [
    CorruptionCurve(severities=(0, 1)),
    HiddenResponse(),
    RemovedImage(),
    SwappedAnalysis(),
    SwappedAnswer(),
    SwappedReasoning(),
    SwappedVision(),
    AnswerLikelihood(),
    ExpectedLevel(),
    MeasuredCertainty(),
    SelfConsistency(2),
    SequenceLikelihood(),
    StatedLevel(),
    TrueProbability(),
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: type(asked).__name__)
def test_asking_leaves_no_trace_and_is_reproducible(
    asked: Probe | Readout,
    make_study: MakeStudy,
    scenes: Callable[[int], PromptBatch],
    respond: Callable[..., list[str]],
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts), engine=GroupEngine(max_new_tokens=3))
    policy = study.policy
    weights = {name: value.clone() for name, value in policy.state_dict().items()}
    mode, settings, generator = policy.training, policy.backbone.generation_config.to_dict(), torch.get_rng_state()
    tokens = study.assessment.rollouts.tokens.clone()

    first = asked(study)

    assert torch.equal(torch.get_rng_state(), generator)
    assert policy.training == mode and policy.backbone.generation_config.to_dict() == settings
    assert all(torch.equal(value, weights[name]) for name, value in policy.state_dict().items())
    assert torch.equal(study.assessment.rollouts.tokens, tokens)

    torch.rand(7)  # whatever else is drawn in between must not matter
    again = asked(study)
    for name, values in first.items():
        assert len(values) == 4 and not values.requires_grad
        torch.testing.assert_close(values, again[name], rtol=0, atol=0, equal_nan=True)
