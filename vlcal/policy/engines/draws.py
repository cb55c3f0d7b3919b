"""Tokens drawn from logits, by random numbers that depend on the prompt and on the member of its group alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

AT_ONCE = 1 << 23  # probabilities that are held at once: 64 MB in float64, some 55 rows of a vocabulary of 150k


def uniform_numbers(seeds: Sequence[int], group_size: int, length: int) -> Float[Tensor, "N length"]:
    """Numbers in [0, 1): a row of each completion in prompt-major order, a column of each of its tokens.

    The stream of a completion is that of Philox (Salmon et al., 2011) under the key (seed of the prompt, member of the
    group). A row is therefore the same in every batch, and the beginning of a longer one.

    >>> whole = uniform_numbers([3, 7], group_size=2, length=4)
    >>> torch.equal(whole[2:3, :2], uniform_numbers([7], group_size=1, length=2))
    True
    """
    keys = [(seed, member) for seed in seeds for member in range(group_size)]
    rows = [np.random.Generator(np.random.Philox(key=np.array(key, np.uint64))).random(length) for key in keys]
    return torch.from_numpy(np.stack(rows))


def drawn(
    logits: Float[Tensor, "n V"], uniform: Float[Tensor, " n"], temperature: float, top_p: float
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """A token of each row by inversion of its distribution, and the log-probability it was drawn with.

    With `top_p` below 1 the distribution is that over the fewest tokens which hold this share, so log-probabilities
    are `log p(v) - log(mass of those tokens)`. Masses are added in float64: a float32 sum over 150,000 tokens loses
    small ones and need not rise.

    >>> logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    >>> token, log_prob = drawn(logits, torch.tensor([0.9], dtype=torch.float64), 1.0, 0.75)
    >>> token, log_prob.exp()  # 0.3 of the 0.8 that 0.5 and 0.3 hold
    (tensor([1]), tensor([0.3750]))
    """
    size = max(1, AT_ONCE // logits.shape[1])
    blocks = [
        _drawn(rows, numbers, temperature, top_p)
        for rows, numbers in zip(torch.split(logits, size), torch.split(uniform, size), strict=True)
    ]
    tokens, log_probs = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return tokens, log_probs


def _drawn(
    logits: Float[Tensor, "n V"], uniform: Float[Tensor, " n"], temperature: float, top_p: float
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    log_p = (logits.float() / temperature).log_softmax(-1)
    probs, order = log_p.double().exp(), None
    if top_p < 1.0:
        probs, order = probs.sort(dim=-1, descending=True, stable=True)
    mass = probs.cumsum(-1)
    # Of the fewest tokens that hold the share; at a share of 1, the last that has any probability.
    last = ((mass - probs < top_p * mass[:, -1:]).sum(1, keepdim=True) - 1).clamp(min=0)
    total = mass.gather(1, last)
    at = torch.searchsorted(mass, uniform[:, None] * total, right=True).clamp(max=last)
    chosen = at if order is None else order.gather(1, at)
    return chosen[:, 0], (log_p.gather(1, chosen) - total.log())[:, 0].float()
