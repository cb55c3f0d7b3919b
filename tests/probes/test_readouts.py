"""Each readout against a value worked by hand or by another way to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.probes.studies import MakeStudy, without_image
from vlcal.policy import Continuations, Policy, RolloutEngine
from vlcal.probes import (
    AnswerLikelihood,
    ExpectedLevel,
    MeasuredCertainty,
    ReadingLikelihood,
    ResponseLikelihood,
    SelfConsistency,
    SequenceLikelihood,
    StatedLevel,
    TrueProbability,
)
from vlcal.probes.levels import levels_at, stated_places
from vlcal.probes.study import Study
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]
Replay = Callable[..., RolloutEngine]


def boxed(answer: str) -> str:
    return f"<think></think>\\boxed{{{answer}}}"


def test_stated_levels_and_measured_certainty_pass_through(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts, level=4))

    stated = StatedLevel()(study)

    assert stated["visual"].tolist() == pytest.approx([0.4] * 4)
    assert stated["reasoning"].tolist() == pytest.approx([1.0, 0.9] * 2)
    assert stated["overall"].tolist() == pytest.approx([0.8 / 1.4, 0.72 / 1.3] * 2)
    (certainty,) = MeasuredCertainty()(study).values()
    assert torch.equal(certainty, study.assessment.certainty.response)


def test_the_expected_level_is_the_mean_of_the_levels_as_the_policy_weighs_them(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    texts = respond(prompts, offsets=(0,))
    texts[1] = "no idea"
    study = make_study(prompts, texts)

    expected = ExpectedLevel()(study)

    levels = levels_at(study, stated_places(study))
    by_hand = sum(level / 10 * levels.visual[0, level] for level in range(11))
    torch.testing.assert_close(expected["visual"][0], by_hand)
    assert all(values.isnan().tolist() == [False, True] for values in expected.values())


def asked_by_hand(study: Study, row: int, answer: str, true: str = "True", false: str = "False") -> float:
    """The probability of the first reply against the second, from a prompt of its own."""
    prompt = study.assessment.prompts.select([study.prompt_index[row]])
    question = (
        f"{prompt.questions[0]}\n\nProposed answer: {answer}\n\n"
        f"Is the proposed answer right? Reply with {true} or {false} alone."
    )
    encoded = study.policy.encode(replace(prompt, questions=(question,)), Grammar(instructions=""))
    tokens = torch.tensor([[study.policy.pad_token_id]])
    with torch.no_grad():
        hidden = study.policy.hidden(Continuations.of(encoded, tokens, torch.ones_like(tokens, dtype=torch.bool)))
        logits = study.policy.head(hidden[:, 0])[0]
    replies = [study.policy.tokenizer.encode(reply, add_special_tokens=False)[0] for reply in (true, false)]
    return float(logits[replies].softmax(-1)[0])


def test_the_probability_of_true_is_that_of_the_question_asked_about_each_answer(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = without_image(scenes(3), 1)
    study = make_study(prompts, respond(prompts))

    found = TrueProbability()(study)["overall"]
    cut = TrueProbability()(replace(study, budget=1))["overall"]

    expected = [
        asked_by_hand(study, row, answer or "") for row, answer in enumerate(study.assessment.responses.answers)
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    assert cut.tolist() == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 5) for value in expected}) > 3


def test_where_there_is_no_answer_there_is_no_probability_of_true(make_study: MakeStudy, scenes: Scenes) -> None:
    study = make_study(scenes(2), ["no idea", boxed("3")])

    assert TrueProbability()(study)["overall"].isnan().tolist() == [True, False]


def test_other_replies_may_be_asked_for(make_study: MakeStudy, scenes: Scenes, respond: Respond) -> None:
    prompts = scenes(1)
    study = make_study(prompts, respond(prompts, offsets=(0,)))
    (answer,) = study.assessment.responses.answers

    found = TrueProbability("yes", "no")(study)["overall"]

    assert found.tolist() == pytest.approx([asked_by_hand(study, 0, answer or "", "yes", "no")], abs=1e-5)


def test_replies_that_start_alike_are_refused(
    make_study: MakeStudy, splitting: Policy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(1)
    study = make_study(prompts, respond(prompts, offsets=(0,)), splitting)

    with pytest.raises(ValueError, match="`true` and `false` must start with different tokens, which '10' and '12' do"):
        TrueProbability("10", "12")(study)


@pytest.mark.parametrize(("true", "false"), [("", "no"), ("yes", ""), ("yes", "yes")])
def test_replies_that_are_no_two_are_refused(true: str, false: str) -> None:
    with pytest.raises(ValueError, match="`true` and `false` must be two different replies; got"):
        TrueProbability(true, false)


def test_likelihoods_are_geometric_means(make_study: MakeStudy, scenes: Scenes) -> None:
    study = make_study(scenes(2), [boxed("12"), "no idea"])
    assessment = study.assessment
    answer, mask = assessment.responses.spans.answer, assessment.rollouts.mask
    assert answer.sum(1).tolist() == [2, 0]
    # Every token has a probability of 1/2, those of the answer 0.9 and 0.4, whatever stands behind the end.
    log_probs = torch.full(mask.shape, 0.5).log().masked_fill(~mask, -9.0)
    log_probs[answer] = torch.tensor([0.9, 0.4]).log()
    known = replace(study, assessment=replace(assessment, evidence=replace(assessment.evidence, log_probs=log_probs)))

    of_answer, of_all = AnswerLikelihood()(known)["overall"], SequenceLikelihood()(known)["overall"]

    assert of_answer[0].item() == pytest.approx(0.6) and of_answer[1].isnan()
    count = int(mask[0].sum())
    assert of_all.tolist() == pytest.approx([(0.36 * 0.5 ** (count - 2)) ** (1 / count), 0.5])


def test_likelihoods_are_those_of_the_tokens_that_were_written(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts, offsets=(0,)))
    log_probs, span = study.assessment.rollouts.log_probs, study.assessment.responses.spans.answer

    found = AnswerLikelihood()(study)["overall"]

    torch.testing.assert_close(found[0], log_probs[0][span[0]].mean().exp())


def test_self_consistency_is_the_share_of_further_samples_that_agree(
    make_study: MakeStudy, scenes: Scenes, replay: Replay
) -> None:
    # Two responses per prompt, four further ones: case and white space do not matter, no answer agrees with nothing.
    further = [boxed("3"), boxed(" 3"), boxed("4"), "no idea", *[boxed("B")] * 3, "no idea"]
    study = make_study(scenes(2), [boxed("3"), boxed("5"), boxed("b "), "no idea"], engine=replay(further))

    found = SelfConsistency(4)(study)["overall"]

    assert found[:3].tolist() == [0.5, 0.0, 0.75]
    assert found[3].isnan()


def test_self_consistency_needs_a_sample() -> None:
    with pytest.raises(ValueError, match="`samples` must be at least 1, or nothing is compared; got 0"):
        SelfConsistency(0)


def test_the_ceiling_is_the_product_of_the_token_probabilities_at_temperature_1(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    texts = respond(prompts, offsets=(0,))
    texts[1] = "no idea"
    study = make_study(prompts, texts)
    spans, log_probs = study.assessment.responses.spans, study.assessment.evidence.log_probs

    ceiling = ResponseLikelihood()(study)

    seen = log_probs[0][spans.vision[0]].sum().exp()
    concluded = log_probs[0][spans.reasoning[0] | spans.answer[0]].sum().exp()
    torch.testing.assert_close(ceiling["visual"][0], seen)
    torch.testing.assert_close(ceiling["reasoning"][0], concluded)
    torch.testing.assert_close(ceiling["overall"][0], seen * concluded)
    assert all(values.isnan().tolist() == [False, True] for values in ceiling.values())


def test_the_likelihood_of_a_reading_does_not_depend_on_the_temperature_of_the_sampling(
    make_study: MakeStudy, scenes: Scenes, respond: Respond
) -> None:
    prompts = scenes(2)
    study = make_study(prompts, respond(prompts))
    at_1 = ReadingLikelihood()(study)["visual"]
    study.engine.temperature = 0.5
    study.assessment.evidence.log_probs.mul_(3)  # of another temperature: not to be used

    torch.testing.assert_close(ReadingLikelihood()(study)["visual"], at_1)
