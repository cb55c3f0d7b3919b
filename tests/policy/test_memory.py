"""The estimated memory of a policy beside what the same policy really holds."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vlcal.policy import Continuations, KeptActivations, LoRA, PolicySpec, QLoRA, RecomputedActivations
from vlcal.policy.activations import Activations
from vlcal.policy.adaptation import Adaptation
from vlcal.policy.layers import decoder
from vlcal.policy.layouts.grouped import Grouped
from vlcal.policy.layouts.packing import Packed
from vlcal.policy.memory.footprint import ROOMY, Workload, footprint, largest_chunk
from vlcal.policy.memory.live_bytes import LiveBytes
from vlcal.policy.memory.skeleton import Skeleton
from vlcal.text import Grammar
from vlcal.types import PromptBatch

TOKENS = 192


def held(module: nn.Module) -> int:
    """Bytes of all weights, with the scales of those in four bits."""
    total = 0
    for weight in module.parameters():
        total += weight.nbytes
        state = getattr(weight, "quant_state", None)
        if state is not None:
            parts = (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
            total += sum(part.nbytes for part in parts)
    return total


@pytest.mark.parametrize("adaptation", [LoRA(rank=4), QLoRA(rank=4)], ids=["float32", "4 bits"])
def test_the_weights_take_what_they_take(embedded: Path, adaptation: Adaptation) -> None:
    spec = PolicySpec(str(embedded), adaptation, dtype="float32")

    estimated = sum(Skeleton(spec).weight_bytes().values())

    assert estimated == pytest.approx(held(spec.build().adapted), rel=0.01)


def test_the_cache_grows_by_keys_and_values(embedded: Path) -> None:
    spec = PolicySpec(str(embedded), dtype="float32")
    policy = spec.build()
    with torch.no_grad():
        cache = policy.backbone.base_model(torch.full((3, 10), policy.pad_token_id), use_cache=True).past_key_values

    assert Skeleton(spec).cache_bytes.token * 3 * 10 == sum(
        layer.keys.nbytes + layer.values.nbytes for layer in cache.layers
    )


@pytest.mark.parametrize("activations", [KeptActivations(), RecomputedActivations()], ids=["kept", "recomputed"])
def test_a_pass_holds_what_the_same_pass_over_nothing_does(embedded: Path, activations: Activations) -> None:
    spec = PolicySpec(str(embedded), LoRA(rank=4), dtype="float32", activations=activations)
    policy = spec.build()
    language = decoder(policy.backbone).train()
    learning = [weight for weight in policy.adapted.parameters() if weight.requires_grad]
    for weight in learning:
        weight.grad = torch.zeros_like(weight)
    embedded_tokens = torch.zeros(1, TOKENS, policy.backbone.get_input_embeddings().weight.shape[1])
    given: list[Tensor] = [*policy.adapted.parameters(), *policy.adapted.buffers(), embedded_tokens]
    with LiveBytes([*given, *(weight.grad for weight in learning if weight.grad is not None)]) as live:
        states = language(inputs_embeds=embedded_tokens, use_cache=False).last_hidden_state
        kept = live.now
        states.backward(torch.zeros_like(states))

    estimated = Skeleton(spec).update_bytes(TOKENS)

    assert estimated.kept == pytest.approx(kept, rel=0.15)
    assert estimated.peak == pytest.approx(live.peak, rel=0.15)


def test_attention_group_by_group_holds_the_prompt_once_more_for_every_completion(
    embedded: Path, mixed: PromptBatch, grammar: Grammar
) -> None:
    spec = PolicySpec(str(embedded), LoRA(rank=4), dtype="float32")
    policy, many, long = spec.build(), 8, 6
    encoded = policy.encode(mixed.select([0]), grammar)
    tokens, mask = torch.full((many, long), policy.pad_token_id), torch.ones(many, long, dtype=torch.bool)
    kept = {}
    for layout in (Packed(), Grouped(policy.headless)):
        with LiveBytes([*policy.adapted.parameters(), *policy.adapted.buffers()]) as live:
            states = policy.hidden(Continuations.of(encoded, tokens, mask), layout)
            kept[type(layout)] = live.now
        del states

    more = kept[Grouped] - kept[Packed]

    estimated = Skeleton(spec).grouping_bytes(encoded.length + many * long, encoded.length, many)
    assert more == pytest.approx(estimated, rel=0.3)


def test_memory_follows_the_chunk_and_the_largest_chunk_fits_where_one_more_does_not(embedded: Path) -> None:
    skeleton, gib = Skeleton(PolicySpec(str(embedded), LoRA(rank=4), dtype="float32")), 2**30
    work = Workload(
        prompts=64,
        chunk=5,
        prompt_tokens=900,
        image_tokens=800,
        pixel_values=10**6,
        group_size=8,
        completion_tokens=1000,
        token_budget=2000,
    )

    def peak(prompts: int, chunk: int) -> int:
        return footprint(skeleton, replace(work, prompts=prompts, chunk=chunk), 10**6, gib).peak

    card = ceil(peak(64, 5) / ROOMY)
    assert largest_chunk(skeleton, work, 10**6, card) == 5
    assert largest_chunk(skeleton, work, 10**6, card - 2**20) == 4
    assert [largest_chunk(skeleton, work, 10**6, size) for size in (gib // 4, 64 * gib)] == [0, 64]
    assert peak(64, 5) < 1.2 * peak(5, 5) < peak(64, 64)
