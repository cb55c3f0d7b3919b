"""Log-probability, entropy and KL over the whole vocabulary, from hidden states, without ever holding (N, T, V).

A `Head` turns hidden states (n, D) into logits (n, V). Its logits may be -inf, which says that a token is never
produced: such a token has probability 0 and adds nothing to any sum. All sums run in float32 or better.

Where a head is frozen, as under adapters, the gradient of a row by its states is made with its value, while its logits
are there, and scaled in the backward pass: no logits are made a second time. A head that learns runs again for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vlcal.errors import UserError

Head = Callable[[Tensor], Tensor]

LOGIT_BYTES = 16  # of one logit at the peak: logits, log-probabilities, probabilities and a gradient, float32 each
LARGEST_BLOCK = 1 << 30  # bytes; beyond, a product with the head gets no faster
CPU_BLOCK = 1 << 27  # bytes; smaller blocks stay closer to the cache
FREE_SHARE = 0.25  # of free memory that a chunk may take


def token_statistics(
    hidden: Float[Tensor, "N T D"],
    head: Head,
    tokens: Int[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    temperature: float = 1.0,
    chunk: int | None = None,
) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
    """Log-probability of each token and entropy of the distribution it came from, in nats; 0 outside the mask.

    Only positions inside the mask pass the head, `chunk` of them at a time, by default as many as memory is free for.
    Both results are differentiable; the logits of a chunk are made again in the backward pass, which costs one more run
    of the head and holds (chunk, V) at most. Where entropy is not asked for, `token_log_probs` costs less.

    >>> hidden = torch.tensor([[[0.0, 0.0], [5.0, -5.0]]])
    >>> token_statistics(hidden, lambda rows: rows, torch.tensor([[0, 1]]), torch.tensor([[True, False]]))
    (tensor([[-0.6931,  0.0000]]), tensor([[0.6931, 0.0000]]))
    """
    _check_temperature(temperature)
    chunk = _positions_at_once(hidden, head, chunk)

    def of_rows(rows: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        log_p = _log_softmax(head(rows), temperature)
        return log_p.gather(-1, chosen.unsqueeze(-1)).squeeze(-1), _entropy(log_p)

    at = _places(mask)
    parts = [
        checkpoint(of_rows, rows, chosen, use_reentrant=False) if torch.is_grad_enabled() else of_rows(rows, chosen)
        for rows, chosen in _pairs(hidden, tokens, at, chunk)
    ]
    log_probs, entropy = (torch.cat(values) for values in zip(*parts, strict=True))
    return _put(mask, at, log_probs), _put(mask, at, entropy)


def token_log_probs(
    hidden: Float[Tensor, "N T D"],
    head: Head,
    tokens: Int[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Float[Tensor, "N T"]:
    """Log-probability of each token, in nats; 0 outside the mask. `token_statistics` without the entropy.

    By the logits z, `d log p(token) / dz = ([v = token] - p(v)) / temperature`.

    >>> hidden = torch.tensor([[[0.0, 0.0], [5.0, -5.0]]])
    >>> token_log_probs(hidden, lambda rows: rows, torch.tensor([[0, 1]]), torch.tensor([[True, False]]))
    tensor([[-0.6931,  0.0000]])
    """
    _check_temperature(temperature)
    chunk, at = _positions_at_once(hidden, head, chunk), _places(mask)

    def of_rows(rows: Tensor, chosen: Tensor) -> Tensor:
        return _log_softmax(head(rows), temperature).gather(-1, chosen.unsqueeze(-1)).squeeze(-1)

    def with_gradient(chosen: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        log_p, index = _log_softmax(logits, temperature), chosen.unsqueeze(-1)
        log_probs = log_p.gather(-1, index).squeeze(-1)
        falling = log_p.exp_().scatter_add_(-1, index, log_p.new_full(index.shape, -1.0))
        return log_probs, falling.div_(-temperature)

    known = _gradient_at_once(hidden, head)
    parts = []
    for rows, chosen in _pairs(hidden, tokens, at, chunk):
        if known:
            parts.append(_values_of_rows(rows, head, partial(with_gradient, chosen)))
        elif torch.is_grad_enabled():
            parts.append(checkpoint(of_rows, rows, chosen, use_reentrant=False))
        else:
            parts.append(of_rows(rows, chosen))
    return _put(mask, at, torch.cat(parts))


@torch.no_grad()
def vocabulary_kl(
    hidden_p: Float[Tensor, "N T D"],
    hidden_q: Float[Tensor, "N T D"],
    head: Head,
    mask: Bool[Tensor, "N T"],
    chunk: int | None = None,
) -> Float[Tensor, "N T"]:
    """Exact KL(p || q) of the next-token distributions at each position, in nats, never negative; 0 outside the mask.

    It is summed as `sum_v p(v) log(p(v) / q(v)) - p(v) + q(v)`, which is the same, since both sum to 1. The bare sum is
    wrong by some 5e-7 in float32, however small the KL, and the label of a KL of 5e-7 would be rounding alone.

    Swap the hidden states for the reverse, KL(q || p). It carries no gradient: it is evidence, not a loss. It is
    infinite where q forbids what p allows.

    >>> p, q = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[0.0, 1.0986123]]])
    >>> vocabulary_kl(p, q, lambda rows: rows, torch.tensor([[True]]))  # log(2) / 2 + log(2 / 3) / 2 = log(4 / 3) / 2
    tensor([[0.1438]])
    """
    chunk, at = _positions_at_once(hidden_p, head, chunk), _places(mask)
    parts = []
    for rows_p, rows_q in _pairs(hidden_p, hidden_q, at, chunk):
        log_p, log_q = _log_softmax(head(rows_p)), _log_softmax(head(rows_q))
        p = log_p.exp()
        # In place, since each of these is (chunk, V): half a gigabyte for 1024 rows of a vocabulary of 150k.
        gap = log_p.sub_(log_q).masked_fill_(p == 0, 0)
        excess = log_q.exp_().sub_(p)
        parts.append(p.mul_(gap).add_(excess).sum(-1).clamp(min=0))
    return _put(mask, at, torch.cat(parts))


def distillation_kl(
    hidden_p: Float[Tensor, "N T D"],
    hidden_q: Float[Tensor, "N T D"],
    head_p: Head,
    head_q: Head,
    mask: Bool[Tensor, "N T"],
    chunk: int | None = None,
) -> Float[Tensor, ""]:
    """Exact KL(p || q), in nats, averaged over the mask, with gradient through q alone; 0 for an empty mask.

    It is summed as `sum_v p(v) log(p(v) / q(v)) - p(v) + q(v)`, which is the same, since both sum to 1, and whose
    gradient is exactly 0 where q is p. That of the bare sum is rounding error there, from which Adam, which divides a
    gradient by its own size, makes a whole step. By the logits of q it is `q(v) - p(v)`.

    >>> p, q, head = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[0.0, 1.0986123]]]), lambda rows: rows
    >>> distillation_kl(p, q, head, head, torch.tensor([[True]]))  # log(4 / 3) / 2
    tensor(0.1438)
    """
    chunk = _positions_at_once(hidden_q, head_q, chunk)

    def divergence(rows_p: Tensor, logits_q: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            log_p = _log_softmax(head_p(rows_p))
            p = log_p.exp()
        log_q = _log_softmax(logits_q)
        excess = log_q.exp() - p
        return (p * (log_p - log_q).masked_fill(p == 0, 0) + excess).sum(-1), excess

    def of_rows(rows_p: Tensor, rows_q: Tensor) -> Tensor:
        return divergence(rows_p, head_q(rows_q))[0]

    known = _gradient_at_once(hidden_q, head_q)
    parts = [
        _values_of_rows(rows_q, head_q, partial(divergence, rows_p))
        if known
        else checkpoint(of_rows, rows_p, rows_q, use_reentrant=False)
        for rows_p, rows_q in _pairs(hidden_p, hidden_q, _places(mask), chunk)
    ]
    return torch.stack([part.sum() for part in parts]).sum() / mask.sum().clamp(min=1)


def sampled_kl_k1(log_p: Float[Tensor, "*shape"], log_q: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The plain estimate log p - log q of KL(p || q) from tokens drawn from p: unbiased, of either sign.

    Schulman (2020), "Approximating KL divergence".

    >>> sampled_kl_k1(torch.tensor([-1.0]), torch.tensor([-3.0]))
    tensor([2.])
    """
    return log_p - log_q


def sampled_kl_k3(log_p: Float[Tensor, "*shape"], log_q: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The low-variance estimate q/p - 1 - log(q/p) of KL(p || q) from tokens drawn from p: unbiased, never negative.

    Schulman (2020), "Approximating KL divergence".

    >>> sampled_kl_k3(torch.tensor([0.0]), torch.tensor([0.6931472]))  # 2 - 1 - log 2
    tensor([0.3069])
    """
    log_ratio = log_q - log_p
    return torch.expm1(log_ratio) - log_ratio


class _KnownGradient(torch.autograd.Function):
    """Values of rows, with the gradient of each by its row at hand."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, values: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return (upstream.unsqueeze(-1) * gradient).to(gradient.dtype), None, None


def _values_of_rows(
    rows: Float[Tensor, "n D"], head: Head, of_logits: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> Float[Tensor, " n"]:
    """A value of each row, by a function of its logits that gives the value and its gradient by the logits."""
    states = rows.detach().requires_grad_()
    with torch.enable_grad():
        logits = head(states)
    with torch.no_grad():
        values, by_logits = of_logits(logits.detach())
    (gradient,) = torch.autograd.grad(logits, states, by_logits.to(logits.dtype))
    return _KnownGradient.apply(rows, values, gradient)  # type: ignore[no-any-return]


def _gradient_at_once(hidden: Float[Tensor, "N T D"], head: Head) -> bool:
    """Whether states want a gradient and the head does not learn, so that its rows depend on their states alone."""
    if not (torch.is_grad_enabled() and hidden.requires_grad):
        return False
    return not head(hidden.detach().flatten(0, 1)[:1]).requires_grad


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise UserError(
            f"`temperature` must be above 0, since logits are divided by it; got {temperature}. "
            "Pass 1.0 for the distribution as the model states it."
        )


def _log_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (precise if temperature == 1.0 else precise / temperature).log_softmax(-1)


def _entropy(log_p: Tensor) -> Tensor:
    # log 0 becomes finite before the product: 0 * -inf is NaN, in the value and in the gradient.
    lowest = torch.finfo(log_p.dtype).min
    if log_p.requires_grad:
        finite = log_p.clamp(min=lowest)
        return -(finite.exp() * finite).sum(-1)
    log_p.clamp_(min=lowest)  # in place, as below, since each of these is as large as the logits
    return -log_p.exp().mul_(log_p).sum(-1)


def _places(mask: Tensor) -> Tensor:
    """Indices of what counts in the flattened mask: one wait for the device; a mask as an index waits each time."""
    return mask.flatten().nonzero()[:, 0]


def _pairs(first: Tensor, second: Tensor, at: Tensor, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What belongs to the positions that count, of two tensors (N, T, ...), in chunks."""
    return zip(*(torch.split(values.flatten(0, 1)[at], chunk) for values in (first, second)), strict=True)


def _put(mask: Tensor, at: Tensor, values: Tensor) -> Tensor:
    return values.new_zeros(mask.numel()).index_put((at,), values).view(mask.shape)


def _positions_at_once(hidden: Float[Tensor, "N T D"], head: Head, chunk: int | None) -> int:
    """How many positions pass the head together: what was asked for, or what memory is free for."""
    if chunk is None:
        with torch.no_grad():
            vocabulary = head(hidden.flatten(0, 1)[:1]).shape[-1]
        return max(1, int(_block_bytes(hidden.device) / (LOGIT_BYTES * vocabulary)))
    if chunk < 1:
        raise UserError(f"`chunk` must be at least 1, the positions that pass the head at once; got {chunk}.")
    return chunk


def _block_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return CPU_BLOCK
    held_back = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(LARGEST_BLOCK, FREE_SHARE * (torch.cuda.mem_get_info(device)[0] + held_back))
