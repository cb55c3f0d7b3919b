"""Rows of 16,384 tokens: what is planned for them at the size of Qwen3-VL-8B, and what a smaller model really holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.configs.architectures import write_architecture
from vlcal.commands.checkup import GIB, optimizer_bytes
from vlcal.functional.vocabulary import token_log_probs
from vlcal.policy import Continuations, LoRA, PolicySpec, QLoRA, RecomputedActivations
from vlcal.policy.memory.footprint import ROOMY, Workload, footprint
from vlcal.policy.memory.live_bytes import LiveBytes
from vlcal.policy.memory.skeleton import Skeleton
from vlcal.text import Grammar
from vlcal.training.optimization import Optimization
from vlcal.types import PromptBatch

ROW = 16384


def work(prompt: int, image: int, completion: int, budget: int, pixels: int) -> Workload:
    return Workload(
        prompts=32,
        chunk=1,
        prompt_tokens=prompt,
        image_tokens=image,
        pixel_values=pixels,
        group_size=8,
        completion_tokens=completion,
        token_budget=budget,
        anchored=True,
    )


@pytest.mark.parametrize(
    ("image", "completion"), [(12288, 455), (8192, 965), (14336, 2048)], ids=["image", "both", "past the budget"]
)
def test_16384_tokens_in_a_row_of_qwen3_vl_8b_fit_24_gb(tmp_path: Path, image: int, completion: int) -> None:
    shapes = write_architecture("Qwen/Qwen3-VL-8B-Instruct", tmp_path)
    skeleton = Skeleton(PolicySpec(str(shapes), QLoRA(16), activations=RecomputedActivations()))
    planned = work(image + 450, image, completion, ROW, image * 4 * skeleton.patch_values())

    taken = footprint(skeleton, planned, optimizer_bytes(Optimization(), skeleton.learning), 24 * GIB)

    assert planned.tokens_at_once >= ROW
    assert 12 * GIB < taken.peak < ROOMY * 24 * GIB


def test_an_update_over_a_long_row_holds_what_is_planned_for_it(embedded: Path, grammar: Grammar) -> None:
    spec = PolicySpec(str(embedded), LoRA(rank=4), "float32", activations=RecomputedActivations())
    policy, skeleton, many, long = spec.build(), Skeleton(spec), 8, 64
    question = " ".join(["What is the first plus the second digit?"] * 130)
    encoded = policy.encode(PromptBatch(("long",), ((),), (question,), ("",), ({},)), grammar)
    tokens, mask = torch.full((many, long), 7), torch.ones(many, long, dtype=torch.bool)
    row = encoded.length + many * long
    _ = policy.layout  # its trial is no part of a step
    policy.train()
    given = [*policy.adapted.parameters(), *policy.adapted.buffers()]
    for weight in policy.parameters():
        if weight.requires_grad:
            weight.grad = torch.zeros_like(weight)
            given.append(weight.grad)

    with LiveBytes(given) as live:
        completions = Continuations.of(encoded, tokens, mask)
        log_probs = token_log_probs(policy.hidden(completions), policy.head, tokens, mask)
        log_probs.sum().backward()

    planned = footprint(skeleton, work(encoded.length, 0, long, row, 0), 0, 24 * GIB)
    assert encoded.length > 900 and row > 1400
    assert live.peak < sum(planned.phases["update"].values()) < 1.25 * live.peak  # never too little, and close
