"""What the pretend device refuses and counts, on faults planted in a step and on single operations.

Not collected with the other tests, since the device is for a process of its own: see test_pretend_device.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.device.pretend import DEVICE, PretendDevice
from vlcal.certainty import CertaintyEstimator, ConstantCertainty
from vlcal.objectives import NoCorrection
from vlcal.policy import PolicySpec, RolloutEngine
from vlcal.probes.base import known_mean
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan
from vlcal.types import Certainty, Evidence, PromptBatch, Responses, Rollouts

Fault = Callable[[Tensor], object]


class Planted(CertaintyEstimator):
    """Does something to the KL of a step before it says what the null member says."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def __call__(self, evidence: Evidence, rollouts: Rollouts, responses: Responses) -> Certainty:
        self.fault(evidence.visual_kl)
        return ConstantCertainty()(evidence, rollouts, responses)


@pytest.fixture
def collect(
    embedded: str,
    grammar: Grammar,
    make_pipeline: Callable[..., Pipeline],
    scenes: Callable[[int], PromptBatch],
    replay: Callable[..., RolloutEngine],
    respond: Callable[..., list[str]],
    device: PretendDevice,
) -> Callable[[Fault], object]:
    """Collects experience on the device with a fault in the certainty estimator."""

    def run(fault: Fault) -> object:
        policy, prompts = PolicySpec(str(embedded), dtype="float32").build().to(DEVICE), scenes(1)
        plan = SamplingPlan(replay(respond(prompts)), 2, seed=0)
        chunked = ChunkedPrompts(policy, prompts, grammar)
        return make_pipeline(certainty=Planted(fault)).collect(policy, chunked, plan, NoCorrection())

    return run


def drawn_from_the_cpu(kl: Tensor) -> Tensor:
    return torch.rand(kl.shape, generator=torch.Generator().manual_seed(0), device=kl.device)


def filled_with_values_of_the_cpu(kl: Tensor) -> None:
    kl[torch.tensor([0, 1], device=kl.device), 0] = torch.ones(2)


@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        (lambda kl: kl + torch.ones(kl.shape), RuntimeError, "add.Tensor: expected all tensors on pretend:0"),
        (drawn_from_the_cpu, RuntimeError, "expected a generator on pretend:0, got one on cpu"),
        (filled_with_values_of_the_cpu, RuntimeError, "index_put.*shape \\(2,\\) are on the CPU"),
        (lambda kl: torch.ones(kl.shape)[kl > 0], RuntimeError, "index.Tensor: expected all tensors on pretend:0"),
        (lambda kl: kl.numpy(), TypeError, "can't convert pretend:0 device type tensor to numpy"),
    ],
    ids=["tensor left on the CPU", "CPU generator", "CPU values", "device index of a CPU tensor", "numpy"],
)
def test_a_fault_in_a_step_ends_it(
    collect: Callable[[Fault], object], fault: Fault, error: type[Exception], match: str
) -> None:
    collect(lambda kl: kl.sum())  # nothing wrong

    with pytest.raises(error, match=match):
        collect(fault)


ROW = [1.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("operation", "stops", "uploads"),
    [
        (lambda x: x.sum().item(), 1, 0),
        (lambda x: bool((x > 1).all()), 1, 0),
        (lambda x: torch.tensor([x[0], x[1]]), 2, 0),
        (lambda x: x.tolist(), 1, 0),
        (lambda x: x.cpu(), 1, 0),
        (lambda x: x[x > 1], 1, 0),
        (lambda x: x.nonzero(), 1, 0),
        (lambda x: x.unique(), 1, 0),
        (lambda x: x.repeat_interleave(x.long()), 1, 0),
        (lambda x: x.repeat_interleave(x.long(), output_size=5), 0, 0),
        (lambda x: x.masked_fill(x > 1, 0.0) + torch.tensor(1.0), 0, 0),
        (lambda x: x.softmax(0).cumsum(0).argsort(), 0, 0),
        (lambda x: x[torch.tensor([0, 2])], 0, 1),
        (lambda x: x[[0, 2]], 0, 1),
        (lambda x: torch.tensor(ROW, device=x.device) * x, 0, 1),
        (lambda x: torch.ones(3).to(x.device) * x, 0, 1),
    ],
)
def test_what_makes_the_host_wait_and_what_is_uploaded_is_counted(
    device: PretendDevice, operation: Callable[[Tensor], object], stops: int, uploads: int
) -> None:
    row = torch.tensor(ROW, device=DEVICE)

    with device.phase("asked"):
        operation(row)

    assert (device.stopped("asked"), device.uploaded("asked")) == (stops, uploads)


def test_a_wait_is_counted_at_the_line_of_the_package_that_asks(device: PretendDevice) -> None:
    known_mean(torch.tensor(ROW, device=DEVICE))

    mask, number = device.stops
    assert (mask[1], number[1]) == ("boolean index", "_local_scalar_dense")
    assert mask[2].startswith("probes/base.py:") and number[2].startswith("probes/base.py:")


def test_values_shared_views_and_gradients_are_those_of_the_cpu(device: PretendDevice) -> None:
    weight = torch.nn.Linear(2, 2).to(DEVICE).weight
    rows = torch.zeros(3, 2, device=DEVICE)

    rows[1:] = weight  # through a view
    (rows * rows).sum().backward()

    assert torch.equal(weight.grad.cpu(), 2 * weight.detach().cpu())
    assert torch.equal(rows[0].cpu(), torch.zeros(2))
