"""What completions say, on the tokens of a real tokenizer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vlcal.data.digits import DigitsOracle
from vlcal.policy import Policy, RolloutEngine
from vlcal.text import Grammar
from vlcal.training.reader import ResponseReader
from vlcal.types import PromptBatch, Responses

RIGHT = (
    "<think><vision>4 and 7</vision><reasoning>4+7=11</reasoning></think>\\boxed{11}<analysis>clear</analysis>"
    "<confidence><vision_confidence> 9 </vision_confidence>"
    "<reasoning_confidence>10</reasoning_confidence></confidence>"
)


def read(
    policy: Policy, prompts: PromptBatch, engine: RolloutEngine, grammar: Grammar
) -> tuple[Responses, Callable[[Tensor], list[str]]]:
    """The responses, and a function from a mask to the text it selects in each row."""
    rollouts = engine.sample(policy, policy.encode(prompts, grammar), 2, range(len(prompts)))
    said = ResponseReader(grammar, oracle=DigitsOracle()).read(policy, prompts, rollouts)

    def selected(mask: Tensor) -> list[str]:
        return [policy.tokenizer.decode(tokens[row]) for tokens, row in zip(rollouts.tokens, mask, strict=True)]

    return said, selected


def test_masks_select_exactly_the_tokens_of_each_part(
    frozen_policy: Policy, scenes: Callable[[int], PromptBatch], replay: Callable[..., RolloutEngine], grammar: Grammar
) -> None:
    malformed = "\n" + RIGHT.replace("</think>", "").replace("> 9 <", "> 11 <")

    said, selected = read(frozen_policy, scenes(1), replay([RIGHT, malformed]), grammar)

    assert selected(said.spans.vision) == ["4 and 7", "4 and 7"]
    assert selected(said.spans.reasoning) == ["4+7=11", "4+7=11"]
    assert selected(said.spans.answer) == ["11", "11"]
    assert [level.strip() for level in selected(said.spans.visual_confidence)] == ["9", ""]
    assert selected(said.spans.reasoning_confidence) == ["10", "10"]
    assert said.well_formed.tolist() == [True, False]
    assert said.answers == ("11", "11")
    torch.testing.assert_close(said.visual, torch.tensor([0.9, math.nan]), equal_nan=True)
    torch.testing.assert_close(said.reasoning, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(said.overall, torch.tensor([2 * 0.9 / 1.9, math.nan]), equal_nan=True)


def test_every_completion_is_held_against_the_prompt_it_answers(
    frozen_policy: Policy,
    scenes: Callable[[int], PromptBatch],
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
    grammar: Grammar,
) -> None:
    prompts = scenes(3)

    said, _ = read(frozen_policy, prompts, replay(respond(prompts)), grammar)

    assert said.correct.tolist() == [1, 0, 1, 0, 1, 0]
    assert said.perception_correct.tolist() == [1] * 6
    assert said.reasoning_correct.tolist() == [1, 0, 1, 0, 1, 0]


def test_text_that_is_no_response_at_all_is_read_as_wrong(
    frozen_policy: Policy, scenes: Callable[[int], PromptBatch], replay: Callable[..., RolloutEngine], grammar: Grammar
) -> None:
    said, selected = read(frozen_policy, scenes(1), replay(["", "<vision>😀 é"]), grammar)

    assert said.answers == (None, None)
    assert not said.well_formed.any() and not said.correct.any()
    assert said.overall.isnan().all()
    assert selected(said.spans.vision) == ["", ""]
