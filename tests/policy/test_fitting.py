"""A layout is judged by its distance from a pass in float32, beside that of plain rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.families import checkpoints
from vlcal.policy import Continuations, Frozen, Policy, PolicySpec
from vlcal.policy.layouts.float32 import Float32Model
from vlcal.policy.layouts.grouped import Grouped
from vlcal.policy.layouts.layout import Layout, Plain
from vlcal.text import Grammar
from vlcal.types import PromptBatch

Build = Callable[..., Policy]
Completions = tuple[Tensor, Tensor]


class Around(nn.Module):
    """A decoder layer with something done to its output."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, *args: object, **kwargs: object) -> Tensor:
        after: Tensor = self.changed(self.layer(hidden, *args, **kwargs))
        return after

    def changed(self, after: Tensor) -> Tensor:
        raise NotImplementedError


class Foreseeing(Around):
    """Gives every token something of the next one."""

    def changed(self, after: Tensor) -> Tensor:
        return after + 0.1 * nn.functional.pad(after[:, 1:], (0, 0, 0, 1))


class CarryingInHalfPrecision(Around):
    """Hands something of every token of a packed row on to the next, as a kernel that ignores masks does."""

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None, **kwargs: object) -> Tensor:
        after: Tensor = self.layer(hidden, attention_mask=attention_mask, **kwargs)
        packed = attention_mask is not None and attention_mask.is_floating_point()
        return after + 0.1 * nn.functional.pad(after[:, :-1], (0, 0, 1, 0)) if packed and _narrow(after) else after


class Overflowing(Around):
    """Leaves the range of float16."""

    def changed(self, after: Tensor) -> Tensor:
        return after * 1e9


class Faulty(Around):
    """Meets a fault of the device in packed rows."""

    fault: Exception

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None, **kwargs: object) -> Tensor:
        if attention_mask is not None and attention_mask.is_floating_point():
            raise self.fault
        after: Tensor = self.layer(hidden, attention_mask=attention_mask, **kwargs)
        return after


def _narrow(states: Tensor) -> bool:
    return states.dtype is not torch.float32


def with_layer(policy: Policy, kind: type[Around]) -> Policy:
    layers = policy.backbone.get_decoder().layers
    layers[1] = kind(layers[1])
    return policy


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers enough for rounding to grow beyond two steps of bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(checkpoints.TEXT, "num_hidden_layers", 16)
        return checkpoints.write_checkpoint("internvl3", tmp_path_factory.mktemp("deep") / "internvl3")


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0])
def test_rounding_of_half_precision_alone_refuses_no_layout(deep: Path, scale: float) -> None:
    policy = PolicySpec(str(deep), dtype="bfloat16").build()
    with torch.no_grad():
        for layer in policy.backbone.get_decoder().layers:
            for weight in layer.parameters():
                weight.mul_(scale if weight.ndim > 1 else 1)

    assert type(policy.layout) is Grouped


@torch.no_grad()
def test_the_float32_pass_of_a_half_precision_model_is_that_of_its_weights_in_float32(
    build: Build, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    policy, (tokens, mask) = build(Frozen(), dtype="bfloat16"), completions
    wide = build(Frozen())
    for weight, held in zip(wide.backbone.parameters(), policy.backbone.parameters(), strict=True):
        weight.copy_(held)
    continuations = Continuations.of(policy.encode(mixed, grammar), tokens, mask)
    before = [(id(weight), weight.dtype, weight.clone()) for weight in policy.backbone.parameters()]

    exact = Plain().hidden(Float32Model(policy.backbone, policy.pad_token_id), continuations)[mask]

    expected, rounded = (Plain().hidden(one.headless, continuations)[mask].float() for one in (wide, policy))
    assert exact.dtype is torch.float32
    assert (exact - expected).norm() < 0.3 * (rounded - expected).norm()  # what is left are embeddings and angles
    for weight, (name, dtype, value) in zip(policy.backbone.parameters(), before, strict=True):
        assert (id(weight), weight.dtype) == (name, dtype) and torch.equal(weight, value)


@torch.no_grad()
def test_a_float32_pass_widens_one_block_at_a_time_and_puts_it_back_when_it_fails(
    build: Build, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    policy = build(Frozen(), dtype="bfloat16")
    layers = policy.backbone.get_decoder().layers
    wide: list[list[int]] = []

    def count(*_: object) -> None:
        wide.append([row for row, layer in enumerate(layers) if next(layer.parameters()).dtype is torch.float32])
        if len(wide) == 2:
            raise RuntimeError("half-way")

    for layer in layers:
        layer.mlp.register_forward_hook(count)
    continuations = Continuations.of(policy.encode(mixed, grammar), *completions)

    with pytest.raises(RuntimeError, match="half-way"):
        Plain().hidden(Float32Model(policy.backbone, policy.pad_token_id), continuations)

    assert wide == [[0], [1]]
    assert {weight.dtype for weight in policy.backbone.parameters()} == {torch.bfloat16}


def test_a_kernel_of_half_precision_that_mixes_completions_is_noticed(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    policy = with_layer(build(Frozen(), dtype="bfloat16"), CarryingInHalfPrecision)

    # In float32 packed rows are those of plain ones: the pass as it will be run decides too.
    assert isinstance(policy.layout, Plain)
    assert "packed rows give other numbers" in caplog.text


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_later_token_that_moves_an_earlier_state_is_refused_in_plain_rows_too(build: Build, attention: str) -> None:
    policy = with_layer(build(Frozen(), attention=attention), Foreseeing)

    with pytest.raises(ValueError, match="`path` must be a model that reads .*; in this one a later token moves"):
        _ = policy.layout


@pytest.mark.parametrize(
    ("dtype", "way_out"),
    [("float16", "in float16. Set `dtype`.*to bfloat16 or float32"), ("float32", "in float32. Check the weights")],
)
def test_states_that_are_no_numbers_end_the_trial_in_one_line(build: Build, dtype: str, way_out: str) -> None:
    policy = build(Frozen(), dtype=dtype)
    if dtype == "float16":
        with_layer(policy, Overflowing)
    else:
        next(policy.backbone.get_decoder().parameters()).data.fill_(torch.nan)

    with pytest.raises(ValueError, match=f"Hidden states must be finite; .* {way_out}") as refused:
        _ = policy.layout

    assert "\n" not in str(refused.value)


def test_features_that_are_no_numbers_end_the_encoding(build: Build, mixed: PromptBatch, grammar: Grammar) -> None:
    policy = build(Frozen())
    tower = next(weight for name, weight in policy.backbone.named_parameters() if "visual" in name)
    tower.data.fill_(torch.inf)

    with pytest.raises(ValueError, match="Features of images must be finite"):
        policy.encode(mixed, grammar)


@torch.no_grad()
def test_a_pass_that_gives_no_numbers_ends_in_one_line(
    build: Build, mixed: PromptBatch, completions: Completions, grammar: Grammar
) -> None:
    policy = build(Frozen())
    assert policy.layout
    with_layer(policy, Overflowing).backbone.half()

    with pytest.raises(ValueError, match="Hidden states of completions must be finite; .* in float16"):
        policy.score(Continuations.of(policy.encode(mixed, grammar), *completions))


@pytest.mark.parametrize(
    "fault",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    ],
    ids=["access", "memory", "cublas"],
)
def test_a_fault_of_the_device_is_not_taken_for_a_layout_that_does_not_fit(build: Build, fault: Exception) -> None:
    policy = with_layer(build(Frozen()), Faulty)
    policy.backbone.get_decoder().layers[1].fault = fault

    with pytest.raises(type(fault), match="CUDA"):
        _ = policy.layout


@pytest.mark.parametrize(("kind", "said"), [(None, "share a row (Grouped)"), (CarryingInHalfPrecision, "one by one")])
def test_the_log_says_which_layout_runs(
    build: Build, caplog: pytest.LogCaptureFixture, kind: type[Around] | None, said: str
) -> None:
    policy = build(Frozen(), dtype="bfloat16")

    with caplog.at_level(logging.INFO, logger="vlcal"):
        layout: Layout = (with_layer(policy, kind) if kind else policy).layout

    assert said in caplog.text
    assert isinstance(layout, Grouped) is (kind is None)
