"""What was measured of a reading stands in the response, and all else is the policy's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from vlcal.demo import BASE
from vlcal.errors import UserError
from vlcal.policy import Continuations, EncodedPrompts, FedBackCertainty, GroupEngine, Policy, PolicySpec
from vlcal.policy.engines.base import written
from vlcal.text import Grammar, parse
from vlcal.text.spans import token_masks
from vlcal.training import Sampling
from vlcal.types import PromptBatch, Rollouts

FORM = Grammar(instructions="")
ENGINE = GroupEngine(max_new_tokens=72, temperature=0.6)
FED_BACK = FedBackCertainty(72, 0.6, grammar=FORM)
SEEDS = (0, 1, 2)
TAGS = "</analysis><confidence><vision_confidence>"


@pytest.fixture(scope="module")
def base() -> Policy:
    return PolicySpec(str(BASE), dtype="float32").build()


@pytest.fixture(scope="module")
def encoded(base: Policy, scenes: Callable[[int], PromptBatch]) -> EncodedPrompts:
    return base.encode(scenes(len(SEEDS)), FORM)


def likelihoods(policy: Policy, encoded: EncodedPrompts, sampled: Rollouts) -> list[float]:
    """Of each reading, by a pass over the whole completions."""
    log_probs, _ = policy.score(Continuations.of(encoded, sampled.tokens, sampled.mask))
    found = []
    for row, text in enumerate(sampled.texts):
        _, offsets = written(policy, sampled.tokens[row], sampled.mask[row])
        spans = {"vision": parse(text, FORM).spans["vision"]}
        found.append(float(log_probs[row, token_masks(offsets, spans, len(log_probs[row]))["vision"]].sum().exp()))
    return found


@torch.no_grad()
@pytest.mark.parametrize("reading", ["", "777"], ids=["its own readings", "a reading it was made to begin with"])
def test_the_analysis_ends_with_the_level_nearest_to_the_likelihood_of_the_reading(
    base: Policy, encoded: EncodedPrompts, reading: str
) -> None:
    begun: Sequence[Sequence[int]] | None = [base.response_tokens(FORM.start(reading))] * 6 if reading else None
    plain, told = (engine.sample(base, encoded, 2, SEEDS, begun) for engine in (ENGINE, FED_BACK))

    for row, likelihood in enumerate(likelihoods(base, encoded, told)):
        ahead = plain.texts[row].index(TAGS)
        assert told.texts[row].startswith(f"{plain.texts[row][:ahead]}{round(10 * likelihood)}{TAGS}")
        assert parse(told.texts[row], FORM).well_formed
        start = begun[row] if begun else []
        behind = told.forced[row].clone()
        behind[: len(start)] = False
        assert base.tokenizer.decode(told.tokens[row][behind]) == f"{round(10 * likelihood)}{TAGS}"
        own = int(behind.nonzero()[0])
        assert torch.equal(told.tokens[row, :own], plain.tokens[row, :own])
        assert torch.equal(told.log_probs[row, :own], plain.log_probs[row, :own])
    assert not told.log_probs[told.forced].any() and (told.log_probs[told.chosen] != 0).float().mean() > 0.5


def test_responses_without_an_analysis_or_cut_short_stay_as_they_are(
    base: Policy, frozen_policy: Policy, encoded: EncodedPrompts, scenes: Callable[[int], PromptBatch]
) -> None:
    garbage = frozen_policy.encode(scenes(2), FORM)
    for policy, prompts, longest in ((base, encoded, 20), (frozen_policy, garbage, 9)):
        engines = GroupEngine(longest), FedBackCertainty(longest, grammar=FORM)
        plain, told = (engine.sample(policy, prompts, 2, SEEDS[: len(prompts)]) for engine in engines)

        assert told.texts == plain.texts and not told.forced.any()
        assert torch.equal(told.tokens, plain.tokens) and torch.equal(told.log_probs, plain.log_probs)


def test_levels_that_a_response_is_not_read_by_are_refused_and_one_telling_engine_of_two_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(
        UserError, match=r"`grammar.levels` of FedBackCertainty must be .*\(0, 1, 2\); got \(0, 1,.* 10\)"
    ):
        Sampling(training=FED_BACK, validation=FED_BACK).check(Grammar(levels=(0, 1, 2)))

    Sampling(training=FED_BACK, validation=FED_BACK).check(FORM)
    Sampling().check(FORM)
    assert not caplog.messages
    Sampling(training=ENGINE, validation=FED_BACK).check(FORM)
    assert "one is FedBackCertainty and the other is not" in caplog.text
