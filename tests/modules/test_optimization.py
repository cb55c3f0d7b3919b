"""How weights are moved."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization, Optimizer, PagedAdamW8bit, TorchAdamW
from vlcal.training.sampling import Sampling


def rates(optimization: Optimization, steps: int) -> list[float]:
    optimizer = optimization.build([nn.Parameter(torch.ones(1))])
    return [optimization.govern(optimizer, step, steps) for step in range(steps)]


def test_the_rate_rises_over_the_warm_up_then_falls_along_a_cosine() -> None:
    found = rates(Optimization(lr=1.0, warmup=0.5, final=0.2), 4)

    # Two steps of warm-up on the way to 1 in three strides, the top of the cosine, its middle.
    assert found == pytest.approx([1 / 3, 2 / 3, 1.0, 0.6])


def test_the_rate_stays_where_it_is_by_default() -> None:
    assert rates(Optimization(lr=0.5), 3) == [0.5, 0.5, 0.5]


def test_the_rate_ends_at_its_final_share() -> None:
    assert Optimization(lr=1.0, final=0.1).factor(1.0) == pytest.approx(0.1)
    assert Optimization(lr=1.0, final=0.1).factor(1.5) == pytest.approx(0.1)


def test_matrices_decay_and_vectors_do_not() -> None:
    weights = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), False)]

    matrices, vectors = Optimization(weight_decay=0.3).build(weights).param_groups

    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0.0)
    assert matrices["params"] == [weights[0]] and len(vectors["params"]) == 1


def test_an_optimizer_with_the_state_of_another_run_follows_the_settings_of_this_one() -> None:
    weights = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    earlier = Optimization(lr=1.0, weight_decay=0.3, betas=(0.5, 0.6)).build(weights)
    optimization = Optimization(lr=2.0, final=0.0, weight_decay=0.1)
    resumed = optimization.build(weights)
    resumed.load_state_dict(earlier.state_dict())

    assert optimization.govern(resumed, 1, 2) == pytest.approx(1.0)  # half of the cosine

    for group, decay in zip(resumed.param_groups, (0.1, 0.0), strict=True):
        assert (group["lr"], group["betas"], group["weight_decay"]) == (pytest.approx(1.0), (0.9, 0.999), decay)


@pytest.mark.parametrize("optimizer", [TorchAdamW(), PagedAdamW8bit()])
def test_the_first_step_has_the_length_of_the_rate_and_matrices_alone_decay(optimizer: Optimizer) -> None:
    matrix, vector = nn.Parameter(torch.full((64, 64), 2.0)), nn.Parameter(torch.full((64,), 2.0))
    built = Optimization(lr=0.1, weight_decay=0.5, optimizer=optimizer).build([matrix, vector])
    matrix.grad, vector.grad = torch.full_like(matrix, 3.0), torch.full_like(vector, -3.0)

    built.step()

    # Both running means equal what they are made of after one step: the ratio is the sign of the gradient.
    torch.testing.assert_close(matrix.detach(), torch.full((64, 64), 2.0 - 0.1 - 0.1 * 0.5 * 2.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(vector.detach(), torch.full((64,), 2.0 + 0.1), atol=1e-3, rtol=0)


def test_eight_bits_hold_the_means_of_large_matrices_alone() -> None:
    large, small = nn.Parameter(torch.ones(64, 64)), nn.Parameter(torch.ones(8, 8))
    built = Optimization(optimizer=PagedAdamW8bit()).build([large, small])
    large.grad, small.grad = torch.ones_like(large), torch.ones_like(small)

    built.step()

    assert {built.state[large][name].dtype for name in ("state1", "state2")} == {torch.uint8}
    assert {built.state[small][name].dtype for name in ("state1", "state2")} == {torch.float32}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "`lr` must be above 0; got 0.0"),
        ({"warmup": 1.0}, "`warmup` must be a share of the run in .* got 1.0"),
        ({"final": 1.1}, "`final` must be a share of `lr` in .* got 1.1"),
        ({"clip": 0.0}, "`clip` must be above 0.* got 0.0"),
        ({"clip": math.nan}, "`clip` must be above 0.* got nan"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Optimization(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "setting", "message"),
    [
        (Sampling, "group_size", "`group_size` must be at least 2, since a lone completion has no baseline; got 0"),
        (Sampling, "chunk_prompts", "`chunk_prompts` must be at least 1, or nothing is sampled; got 0"),
        (Update, "minibatch_prompts", "`minibatch_prompts` must be at least 1.* got 0"),
        (Update, "token_budget", "`token_budget` must be at least 1 token.* got 0"),
    ],
)
def test_impossible_sizes_are_refused(made: type, setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**{setting: 0})
