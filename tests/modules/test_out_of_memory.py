"""A step for which memory does not suffice is taken in smaller pieces, and is the same step."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.modules.marked import MarkedReader
from vlcal.data.digits import DigitsDemonstrations
from vlcal.errors import TooLittleMemoryError, UserError
from vlcal.modules import ReinforcementModule, SupervisedModule
from vlcal.objectives import ExactReferenceKL, ExpectedScore
from vlcal.policy import GroupEngine, LoRA, PolicySpec
from vlcal.rewards import AccuracyReward, VisualReward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.limits import Limits
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.ranks import on_every_rank
from vlcal.training.sampling import Sampling
from vlcal.types import PromptBatch

Scenes = Callable[[int], PromptBatch]
Fit = Callable[..., Any]
CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB."


class SmallCard(nn.Module):
    """A layer of the language model that takes so many tokens at once and then runs out of memory.

    Args:
        layer: What it computes.
        tokens: That it takes forward, and backward half as many.
        error: What it raises.
    """

    def __init__(self, layer: nn.Module, tokens: int, error: type[RuntimeError]) -> None:
        super().__init__()
        self.layer, self.tokens, self.error = layer, tokens, error
        self.refused = {"forward": 0, "backward": 0}

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        rows, width = hidden.shape[:2]
        self._need("forward", rows * width, self.tokens)
        if hidden.requires_grad:
            hidden.register_hook(lambda _: self._need("backward", rows * width, self.tokens // 2))
        return self.layer(hidden, *args, **kwargs)

    def _need(self, way: str, tokens: int, most: int) -> None:
        if tokens > most:
            self.refused[way] += 1
            raise self.error(CUDA)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


class Gradients(lightning.Callback):
    """Keeps the gradient of each update, as one vector."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        learning = [weight for weight in pl_module.policy.parameters() if weight.requires_grad]
        self.kept.append(torch.cat([weight.grad.flatten().clone() for weight in learning]))


@dataclass(frozen=True)
class Taken:
    """A step: gradients of its updates, what it logged and handed on, its card, the bounds it ended with."""

    gradients: list[Tensor]
    figures: dict[str, float]
    outputs: Any
    card: SmallCard
    limits: Limits


def taken(fit: Fit, module: Any, batch: Any, tokens: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> Taken:
    """One step on a card that takes so many tokens."""
    torch.manual_seed(0)  # of the adapters
    module.configure_model()
    with torch.no_grad():  # fresh adapters are 0, and half of the gradient too
        for name, weight in module.policy.named_parameters():
            weight.add_(0.05 * torch.randn(weight.shape)) if "lora_B" in name else None
    assert module.policy.layout  # by a trial of its own
    layers = module.policy.backbone.base_model.language_model.layers
    layers[1] = SmallCard(layers[1], tokens, error)  # the first one behind adapters, so that gradients pass it
    gradients = Gradients()
    steps = fit(module, [batch], callbacks=[gradients])
    return Taken(gradients.kept, steps.figures[0], steps.outputs[0], layers[1], module.limits)


def reinforcement(embedded: Path, grammar: Grammar, budget: int, dropout: float = 0.0) -> ReinforcementModule:
    return ReinforcementModule(
        PolicySpec(str(embedded), LoRA(4, dropout=dropout), dtype="float32"),
        Pipeline(MarkedReader(grammar), {"accuracy": AccuracyReward(), "visual": VisualReward()}),
        Sampling(3, GroupEngine(9), GroupEngine(9)),
        Update(confidence=ExpectedScore(), reference_kl=ExactReferenceKL(), minibatch_prompts=3, token_budget=budget),
        Optimization(lr=1e-9, clip=math.inf),
    )


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_step_that_does_not_fit_is_that_of_a_budget_that_was_small_from_the_start(
    embedded: Path,
    grammar: Grammar,
    fit: Fit,
    scenes: Scenes,
    caplog: pytest.LogCaptureFixture,
    error: type[RuntimeError],
) -> None:
    with caplog.at_level(logging.WARNING, "vlcal.training.limits"):
        found = taken(fit, reinforcement(embedded, grammar, 10**6, dropout=0.1), scenes(4), 110, error)
    sought = taken(fit, reinforcement(embedded, grammar, found.limits.tokens, dropout=0.1), scenes(4), 10**9)

    assert found.card.refused["forward"] and found.card.refused["backward"] and found.limits.prompts < 4
    said = [line for line in caplog.messages if line.startswith("Memory ran out")]
    assert len(said) == found.limits.halvings == found.figures["train/memory/halvings"] >= 3
    assert sought.figures["train/memory/halvings"] == sum(sought.card.refused.values()) == 0
    collected, expected = (each.outputs["assessment"] for each in (found, sought))
    assert torch.equal(collected.rollouts.tokens, expected.rollouts.tokens)
    assert collected.rollouts.texts == expected.rollouts.texts
    torch.testing.assert_close(collected.evidence.log_probs, expected.evidence.log_probs, rtol=1e-6, atol=1e-6)
    assert len(found.gradients) == len(sought.gradients) == 2
    for gradient, other in zip(found.gradients, sought.gradients, strict=True):
        assert other.norm() > 1e-3 and (gradient - other).norm() < 1e-6 * other.norm()


def test_demonstrations_that_do_not_fit_at_once_give_the_gradient_of_all(
    embedded: Path, grammar: Grammar, fit: Fit
) -> None:
    batch = next(iter(DigitsDemonstrations(steps=1, batch_size=4, grammar=grammar).train_dataloader()))

    def module() -> SupervisedModule:
        spec = PolicySpec(str(embedded), LoRA(4), dtype="float32")
        return SupervisedModule(spec, Optimization(lr=1e-9, clip=math.inf), grammar)

    found, sought = (taken(fit, module(), batch, tokens) for tokens in (250, 10**9))

    assert found.limits.prompts < 4 and found.card.refused["backward"] and found.limits.halvings
    assert found.figures["train/loss"] == pytest.approx(sought.figures["train/loss"], rel=1e-6)
    (gradient,), (other,) = found.gradients, sought.gradients
    assert (gradient - other).norm() < 1e-6 * other.norm()


@pytest.mark.parametrize("tokens", [20, 70], ids=["sampling", "update"])
def test_what_cannot_be_cut_ends_in_one_line_with_the_way_out(
    embedded: Path, grammar: Grammar, fit: Fit, scenes: Scenes, tokens: int
) -> None:
    with pytest.raises(UserError, match="`vlcal doctor` says what fits") as refused:
        taken(fit, reinforcement(embedded, grammar, 10**6), scenes(2), tokens)

    assert CUDA in str(refused.value) and "\n" not in str(refused.value)


def test_images_that_do_not_fit_end_in_one_line_with_the_way_out(
    embedded: Path, grammar: Grammar, fit: Fit, scenes: Scenes
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError(CUDA)

    module = reinforcement(embedded, grammar, 10**6)
    module.configure_model()
    assert module.policy.layout  # by a trial of its own
    module.policy.backbone.base_model.visual.register_forward_pre_hook(full)

    with pytest.raises(UserError, match=r"Lower `sampling\.chunk_prompts`"):
        fit(module, [scenes(2)])


def test_another_error_of_a_pass_is_passed_on() -> None:
    attempts = []

    def attempt() -> None:
        attempts.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        Limits().retried(attempt)
    assert len(attempts) == 1


def test_a_rank_without_memory_ends_all_ranks(tmp_path: Path) -> None:
    def short() -> None:
        raise TooLittleMemoryError("Memory ran out here.")

    def rank(number: int, said: Any) -> None:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/ranks", rank=number, world_size=2)
        try:
            on_every_rank(short if number else lambda: None)
        except TooLittleMemoryError as error:
            said.put((number, str(error)))

    context = multiprocessing.get_context("fork")
    said = context.SimpleQueue()
    ranks = [context.Process(target=rank, args=(number, said)) for number in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert dict(said.get() for _ in ranks) == {
        0: "The memory of another rank does not suffice.",
        1: "Memory ran out here.",
    }
