"""How far two policies are apart on the responses of the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from tests.probes.studies import MakeStudy, make_study  # noqa: F401 - a fixture
from vlcal.commands.merged_shift import Shift, shift
from vlcal.policy import Continuations, Policy, PolicySpec, WholeModel
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]


@pytest.fixture
def moved(embedded: Path) -> Policy:
    """The embedded model with other weights."""
    policy = PolicySpec(str(embedded), WholeModel(), dtype="float32").build()
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    return policy


def test_the_shift_is_the_mean_distance_of_log_probabilities_and_of_expected_levels(
    make_study: MakeStudy,  # noqa: F811
    scenes: Scenes,
    respond: Callable[..., Sequence[str]],
    moved: Policy,
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, [respond(prompts, (0,))[0], "I cannot tell."])

    found = shift(study, moved)

    tokens, mask = study.assessment.rollouts.tokens, study.assessment.rollouts.mask
    places = [int(getattr(study.assessment.responses.spans, f"{kind}_confidence")[0].nonzero()) for kind in KINDS]
    log_probs, confidences = [], []
    for policy in (study.policy, moved):
        continued = Continuations.of(policy.encode(prompts, study.grammar), tokens, mask)
        log_probs.append(policy.score(continued)[0].detach())
        levels = policy.head(policy.hidden(continued)[0, places]).detach().gather(1, policy.level_tokens(study.grammar))
        confidences.append(levels.softmax(-1) @ torch.arange(11.0) / 10)
    visual, reasoning = (confidences[1] - confidences[0]).abs().tolist()
    nats = float((log_probs[1] - log_probs[0])[mask].abs().mean())
    assert min(nats, visual, reasoning) > 0.01
    assert (found.nats, found.visual, found.reasoning) == pytest.approx((nats, visual, reasoning), abs=1e-4)
    assert str(found).startswith(f"log-probabilities differ by {nats:.3f} nats a token on 2 prompts, expected conf")


KINDS = ("visual", "reasoning")


def test_a_policy_is_not_apart_from_itself_and_what_is_not_stated_has_no_distance(
    make_study: MakeStudy,  # noqa: F811
    scenes: Scenes,
    frozen_policy: Policy,
) -> None:
    found = shift(make_study(scenes(2), ["I cannot tell."] * 2), frozen_policy)

    assert found.nats == 0 and math.isnan(found.visual) and math.isnan(found.reasoning)
    assert str(found) == (
        "log-probabilities differ by 0.000 nats a token on 2 prompts, no response states both confidences"
    )
    assert "(visual) and 0.200 (reasoning)" in str(Shift(2, 0.1, 0.3, 0.2))
