"""How often the host waits for the device in a step: bounds, so that no change adds waits unseen.

What the vision tower and the model of transformers do in themselves is left out: it differs between their versions.
Not collected with the other tests, since the device is for a process of its own: see test_pretend_device.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.device.pretend import DEVICE, PretendDevice
from vlcal.objectives import ExpectedScore, NoCorrection
from vlcal.policy import Continuations, GroupEngine, LoRA, Policy, PolicySpec, RolloutEngine
from vlcal.policy.engines.group import BETWEEN_LOOKS
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.learner import Learner, Update
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import PromptBatch

FOREIGN = ("policy/encode.py", "policy/layouts/headless.py")  # where the vision tower and the model are called
PASS_WAITS, BACKWARD_WAITS, LOSS_WAITS = 10, 6, 60  # of one pass, whatever it holds
Scenes = Callable[[int], PromptBatch]


@pytest.fixture
def build(embedded: Path, device: PretendDevice) -> Callable[..., Policy]:
    """A policy on the device, with a decoder of that many layers, after the trial of its layout."""

    def made(layers: int = 6) -> Policy:
        policy = PolicySpec(str(embedded), LoRA(2), dtype="float32").build()
        decoder = policy.backbone.get_decoder()
        decoder.layers = decoder.layers[:layers]
        policy.to(DEVICE)
        assert type(policy.layout).__name__ == "Grouped"
        return policy

    return made


def waits(device: PretendDevice, phase: str) -> Counter[tuple[str, str]]:
    """The waits of a phase by operation and line, without those of transformers."""
    counts: Counter[tuple[str, str]] = Counter()
    for (within, operation, line), count in device.stops.items():
        if within == phase and not line.startswith(FOREIGN):
            counts[operation, line] += count
    return counts


def test_no_layer_makes_the_host_wait_forward_or_backward(
    build: Callable[..., Policy], device: PretendDevice, scenes: Scenes, grammar: Grammar
) -> None:
    for layers in (2, 6):
        policy = build(layers)
        encoded = policy.encode(scenes(2), grammar)
        tokens = torch.full((4, 5), 7, device=DEVICE)
        mask = torch.arange(5, device=DEVICE) < torch.tensor([[5], [2], [3], [1]], device=DEVICE)
        with device.phase(f"{layers} layers"):
            log_probs, entropy = policy.score(Continuations.of(encoded, tokens, mask))
        with device.phase(f"{layers} layers back"):
            (log_probs + entropy).sum().backward()

    assert device.stopped("2 layers") == device.stopped("6 layers")
    assert device.stopped("2 layers back") == device.stopped("6 layers back")
    assert sum(waits(device, "6 layers").values()) <= PASS_WAITS


def test_sampling_waits_less_than_once_a_token_and_uploads_nothing_for_it(
    build: Callable[..., Policy], device: PretendDevice, scenes: Scenes, grammar: Grammar
) -> None:
    policy = build()
    encoded = policy.encode(scenes(2), grammar)
    for length in (4, 24):
        with device.phase(f"{length} tokens"):
            rollouts = GroupEngine(length).sample(policy, encoded, 2, [0, 1])
        assert bool(rollouts.truncated.all())  # nothing ended, which would cost an upload when the batch gets smaller

    assert device.stopped("24 tokens") - device.stopped("4 tokens") <= 20 / BETWEEN_LOOKS
    assert device.uploaded("24 tokens") <= device.uploaded("4 tokens")  # the first uploads what is forbidden, once


def test_an_update_waits_as_often_for_many_completions_as_for_few(
    build: Callable[..., Policy],
    device: PretendDevice,
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
) -> None:
    policy, pipeline = build(), make_pipeline()
    learner = Learner(policy, pipeline.reader, Update(confidence=ExpectedScore()), temperature=1.0)
    for size, offsets in ((1, (0, 1)), (3, (0, 1, 2, 3))):
        prompts = scenes(size)
        chunked = ChunkedPrompts(policy, prompts, pipeline.reader.grammar)
        plan = SamplingPlan(replay(respond(prompts, offsets)), len(offsets), seed=0)
        experience = pipeline.collect(policy, chunked, plan, NoCorrection())
        with device.phase(f"loss {size}"):
            (update,) = learner.passes(experience, chunked, chunked.all)
        with device.phase(f"backward {size}"):
            update.loss.backward()

    few, many = (waits(device, f"backward {size}") for size in (1, 3))
    assert few == many and sum(many.values()) <= BACKWARD_WAITS, many
    few, many = (waits(device, f"loss {size}") for size in (1, 3))
    assert few == many and sum(many.values()) <= LOSS_WAITS, many
