from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlcal.functional import (
    distillation_kl,
    sampled_kl_k1,
    sampled_kl_k3,
    token_log_probs,
    token_statistics,
    vocabulary_kl,
)

N, T, D, V = 3, 5, 4, 64


@pytest.fixture
def hidden() -> Tensor:
    return torch.randn(N, T, D, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(V, D, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(V, (N, T), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(T).expand(N, T) < torch.tensor([[5], [2], [0]])


def itself(rows: Tensor) -> Tensor:
    return rows


def test_uniform_logits_give_log_of_the_vocabulary() -> None:
    everywhere = torch.ones(1, 2, dtype=torch.bool)
    log_probs, entropy = token_statistics(torch.zeros(1, 2, 8), itself, torch.tensor([[0, 7]]), everywhere)
    torch.testing.assert_close(log_probs, torch.full((1, 2), -math.log(8)))
    torch.testing.assert_close(entropy, torch.full((1, 2), math.log(8)))


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_chunks_give_what_the_whole_vocabulary_at_once_gives(
    hidden: Tensor, weight: Tensor, tokens: Tensor, mask: Tensor, chunk: int, temperature: float
) -> None:
    hidden.requires_grad_()
    weight.requires_grad_()
    whole = torch.log_softmax(hidden @ weight.T / temperature, -1)
    expected = (
        whole.gather(-1, tokens[..., None])[..., 0] * mask,
        torch.distributions.Categorical(logits=whole).entropy() * mask,
    )
    found = token_statistics(hidden, lambda rows: rows @ weight.T, tokens, mask, temperature, chunk)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(found, expected, strict=True):
        ours_grad = torch.autograd.grad(ours.square().sum(), (hidden, weight), retain_graph=True)
        theirs_grad = torch.autograd.grad(theirs.square().sum(), (hidden, weight), retain_graph=True)
        torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-4, atol=1e-5)


def test_gradients_agree_with_finite_differences(hidden: Tensor, weight: Tensor, tokens: Tensor, mask: Tensor) -> None:
    exact = weight.double()
    assert torch.autograd.gradcheck(
        lambda states: token_statistics(states, lambda rows: rows @ exact.T, tokens, mask, chunk=3),
        hidden.double().requires_grad_(),
    )


def test_tokens_outside_the_mask_neither_pass_the_head_nor_matter(
    hidden: Tensor, weight: Tensor, tokens: Tensor, mask: Tensor
) -> None:
    seen: list[int] = []

    def head(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return rows @ weight.T

    spoiled = torch.where(mask[..., None], hidden, torch.nan)
    found = token_statistics(spoiled, head, torch.where(mask, tokens, -100), mask, chunk=4)
    assert seen == [4, 3]  # seven tokens count
    torch.testing.assert_close(found, token_statistics(hidden, head, tokens, mask, chunk=4), rtol=0, atol=0)
    assert all((values[~mask] == 0).all() for values in found)


def test_no_logits_are_kept_for_the_backward_pass(hidden: Tensor, weight: Tensor, tokens: Tensor, mask: Tensor) -> None:
    kept: list[torch.Size] = []
    hidden.requires_grad_()

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, itself):
        log_probs, entropy = token_statistics(hidden, lambda rows: rows @ weight.T, tokens, mask, chunk=2)
    (log_probs + entropy).sum().backward()
    assert not [shape for shape in kept if V in shape]


def test_suppressed_tokens_add_nothing_and_give_no_nan(
    hidden: Tensor, weight: Tensor, tokens: Tensor, mask: Tensor
) -> None:
    hidden.requires_grad_()
    bias = torch.zeros(V).index_fill(0, torch.tensor([0, 9]), -torch.inf)
    allowed = torch.tensor([token for token in range(V) if token not in (0, 9)])
    chosen = torch.randint(len(allowed), tokens.shape, generator=torch.Generator().manual_seed(3))
    found = token_statistics(hidden, lambda rows: rows @ weight.T + bias, allowed[chosen], mask)
    torch.testing.assert_close(found, token_statistics(hidden, lambda rows: rows @ weight[allowed].T, chosen, mask))
    torch.stack(found).sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_an_empty_mask_gives_zeros_with_a_graph(hidden: Tensor, weight: Tensor, tokens: Tensor) -> None:
    nowhere = torch.zeros(N, T, dtype=torch.bool)
    hidden.requires_grad_()
    log_probs, entropy = token_statistics(hidden, lambda rows: rows @ weight.T, tokens, nowhere)
    assert (log_probs == 0).all()
    assert (entropy == 0).all()
    (log_probs + entropy).sum().backward()
    assert hidden.grad is not None
    assert (hidden.grad == 0).all()
    assert (vocabulary_kl(hidden, hidden, lambda rows: rows @ weight.T, nowhere) == 0).all()


def test_half_precision_states_give_float32_figures(
    hidden: Tensor, weight: Tensor, tokens: Tensor, mask: Tensor
) -> None:
    half, small = hidden.bfloat16(), weight.bfloat16()
    log_probs, entropy = token_statistics(half, lambda rows: rows @ small.T, tokens, mask)
    exact = torch.log_softmax((half @ small.T).float(), -1).gather(-1, tokens[..., None])[..., 0] * mask
    assert entropy.dtype == torch.float32
    torch.testing.assert_close(log_probs, exact)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_not_above_zero_is_refused(
    hidden: Tensor, tokens: Tensor, mask: Tensor, temperature: float
) -> None:
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        token_statistics(hidden, itself, tokens, mask, temperature=temperature)


def test_an_empty_chunk_is_refused(hidden: Tensor, tokens: Tensor, mask: Tensor) -> None:
    with pytest.raises(ValueError, match="`chunk` must be at least 1"):
        token_statistics(hidden, itself, tokens, mask, chunk=0)
    with pytest.raises(ValueError, match="`chunk` must be at least 1"):
        vocabulary_kl(hidden, hidden, itself, mask, chunk=0)


def test_kl_of_a_worked_pair() -> None:
    p, q = torch.tensor([[[0.5, 0.5]]]).log(), torch.tensor([[[0.25, 0.75]]]).log()
    everywhere = torch.ones(1, 1, dtype=torch.bool)
    forward = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    reverse = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert vocabulary_kl(p, q, itself, everywhere).item() == pytest.approx(forward, rel=1e-5)
    assert vocabulary_kl(q, p, itself, everywhere).item() == pytest.approx(reverse, rel=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_kl_agrees_with_torch_in_every_chunk_size(hidden: Tensor, weight: Tensor, mask: Tensor, chunk: int) -> None:
    other = hidden.roll(1, 0)
    p, q = (torch.distributions.Categorical(logits=states @ weight.T) for states in (hidden, other))
    expected = torch.distributions.kl_divergence(p, q) * mask
    torch.testing.assert_close(vocabulary_kl(hidden, other, lambda rows: rows @ weight.T, mask, chunk), expected)


def test_kl_is_never_negative_and_zero_between_equals(hidden: Tensor, weight: Tensor) -> None:
    everywhere = torch.ones(N, T, dtype=torch.bool)
    assert (vocabulary_kl(hidden, hidden, lambda rows: rows @ weight.T, everywhere) == 0).all()
    near = hidden * (1 + 1e-6)
    assert (vocabulary_kl(hidden, near, lambda rows: rows @ weight.T, everywhere) >= 0).all()


@pytest.mark.parametrize(("spread", "error"), [(1e-3, 1e-2), (1e-2, 1e-4), (1.0, 1e-6)])  # KLs of 5e-7, 5e-5 and .5
def test_a_small_kl_keeps_its_digits(spread: float, error: float) -> None:
    rng = torch.Generator().manual_seed(0)
    p = torch.randn(1, 8, 4096, generator=rng, dtype=torch.float64)
    q = p + spread * torch.randn(p.shape, generator=rng, dtype=torch.float64)
    p, q = p.float(), q.float()
    everywhere = torch.ones(1, 8, dtype=torch.bool)

    exact = vocabulary_kl(p.double(), q.double(), itself, everywhere)

    torch.testing.assert_close(vocabulary_kl(p, q, itself, everywhere).double(), exact, rtol=error, atol=0)


def test_kl_skips_tokens_both_suppress_and_is_infinite_where_q_forbids() -> None:
    p = torch.tensor([[[0.0, 0.0, -torch.inf]]])
    q = torch.tensor([[[0.0, -torch.inf, -torch.inf]]])
    everywhere = torch.ones(1, 1, dtype=torch.bool)
    assert vocabulary_kl(p, p, itself, everywhere).item() == 0
    assert vocabulary_kl(q, p, itself, everywhere).item() == pytest.approx(math.log(2))
    assert vocabulary_kl(p, q, itself, everywhere).item() == math.inf


def test_kl_leaves_its_inputs_alone_and_carries_no_gradient() -> None:
    p, q = torch.randn(1, 2, 3, requires_grad=True), torch.randn(1, 2, 3)
    before = p.detach().clone(), q.clone()
    assert not vocabulary_kl(p, q, itself, torch.ones(1, 2, dtype=torch.bool)).requires_grad
    torch.testing.assert_close((p.detach(), q), before, rtol=0, atol=0)


@pytest.mark.parametrize("estimator", [sampled_kl_k1, sampled_kl_k3])
def test_sampled_estimators_average_to_the_exact_kl(estimator: Callable[..., Tensor]) -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    exact = (p * (p / q).log()).sum()
    torch.testing.assert_close((p * estimator(p.log(), q.log())).sum(), exact)


def test_k1_may_be_negative_and_k3_never_is() -> None:
    log_p, log_q = torch.tensor([-3.0, -1.0, -1.0]), torch.tensor([-1.0, -1.0, -3.0])
    assert sampled_kl_k1(log_p, log_q).tolist() == [-2.0, 0.0, 2.0]
    torch.testing.assert_close(
        sampled_kl_k3(log_p, log_q), torch.tensor([math.exp(2) - 1 - 2, 0.0, math.exp(-2) - 1 + 2])
    )


def test_distillation_kl_is_the_mean_exact_kl_and_moves_the_second_states_alone() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(4, 7)
    p, q = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4, requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, False, False]])

    found = distillation_kl(p, q, head, head, mask, chunk=2)
    found.backward()

    assert torch.isclose(found, vocabulary_kl(p, q, head, mask)[mask].mean())
    assert p.grad is None
    assert q.grad is not None
    assert (q.grad[~mask] == 0).all() and (q.grad[mask] != 0).any()


def test_distillation_kl_of_nothing_is_0_with_a_gradient_of_0() -> None:
    states = torch.randn(1, 2, 3, requires_grad=True)

    def same(rows: Tensor) -> Tensor:
        return rows

    found = distillation_kl(states.detach(), states, same, same, torch.zeros(1, 2, dtype=torch.bool))
    found.backward()

    assert found == 0
    assert states.grad is not None and (states.grad == 0).all()


def test_distillation_kl_allows_for_tokens_that_are_never_produced() -> None:
    states = torch.zeros(1, 1, 3, requires_grad=True)

    def head(rows: torch.Tensor) -> torch.Tensor:
        return rows.masked_fill(torch.tensor([False, False, True]), -torch.inf)

    found = distillation_kl(torch.ones(1, 1, 3), states, head, head, torch.tensor([[True]]))
    found.backward()

    assert found == 0
    assert states.grad is not None and states.grad.isfinite().all()


class Counted(torch.nn.Linear):
    """A head that counts the rows it is given, after which nothing is held of their logits."""

    def __init__(self, learns: bool) -> None:
        super().__init__(D, V)
        self.requires_grad_(learns)
        self.rows = 0

    def forward(self, states: Tensor) -> Tensor:
        self.rows += len(states)
        return super().forward(states)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_log_probs_alone_have_the_values_and_gradients_of_the_statistics(
    hidden: Tensor, tokens: Tensor, mask: Tensor, chunk: int, temperature: float, learns: bool
) -> None:
    torch.manual_seed(0)
    head = Counted(learns)
    hidden.requires_grad_()
    wanted = (hidden, *(weight for weight in head.parameters() if weight.requires_grad))
    expected, _ = token_statistics(hidden, head, tokens, mask, temperature, chunk)

    found = token_log_probs(hidden, head, tokens, mask, temperature, chunk)

    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(values.square().sum(), wanted) for values in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert gradients[0][0].abs().max() > 0.1
    with torch.no_grad():
        assert torch.equal(token_log_probs(hidden, head, tokens, mask, temperature, chunk), found)


def test_gradients_of_log_probs_alone_agree_with_finite_differences(
    hidden: Tensor, weight: Tensor, tokens: Tensor, mask: Tensor
) -> None:
    exact = weight.double()
    assert torch.autograd.gradcheck(
        lambda states: token_log_probs(states, lambda rows: rows @ exact.T, tokens, mask, 0.7, chunk=3),
        hidden.double().requires_grad_(),
    )


def test_a_frozen_head_is_run_once_for_value_and_gradient(hidden: Tensor, tokens: Tensor, mask: Tensor) -> None:
    frozen, learning = Counted(learns=False), Counted(learns=True)
    for head in (frozen, learning):
        token_log_probs(hidden.requires_grad_(), head, tokens, mask, chunk=4).sum().backward()

    trial = 1  # row, which tells whether the head learns
    assert frozen.rows == trial + 7
    assert learning.rows == trial + 2 * 7


def test_the_gradient_of_a_frozen_head_holds_no_logits(hidden: Tensor, tokens: Tensor, mask: Tensor) -> None:
    log_probs = token_log_probs(hidden.requires_grad_(), Counted(learns=False), tokens, mask)

    step, held = log_probs.grad_fn, []
    while step is not None:
        held += [tensor.shape for tensor in getattr(step, "saved_tensors", ())]
        step = next((before for before, _ in step.next_functions if before is not None), None)
    assert (7, D) in held and all(V not in shape for shape in held)


@pytest.mark.parametrize("learns", [False, True])
def test_distillation_has_the_gradient_of_the_kl_and_none_between_equals(
    hidden: Tensor, mask: Tensor, learns: bool
) -> None:
    torch.manual_seed(0)
    head, q = Counted(learns), hidden.roll(1, 0).requires_grad_()
    log_p, log_q = (head(states).log_softmax(-1) for states in (hidden, q))
    whole = ((log_p.detach().exp() * (log_p.detach() - log_q)).sum(-1) * mask).sum() / mask.sum()

    found = distillation_kl(hidden, q, head, head, mask, chunk=3)

    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(torch.autograd.grad(found, q), torch.autograd.grad(whole, q))
    (same,) = torch.autograd.grad(distillation_kl(q.detach(), q, head, head, mask), q)
    assert (same == 0).all()
