"""Visual certainty without a label: how much what was written leans on the image, against how unsure it was.

Xiao, Xu and Gan (2026), VL-Calibration, arXiv 2604.09529. A label is meant to be a target: compute it without gradient.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.functional.groups import in_groups
from vlcal.functional.masked import masked_mean, masked_std


def visual_score(kl: Float[Tensor, "*B"], entropy: Float[Tensor, "*B"], eps: float = 1e-6) -> Float[Tensor, "*B"]:
    """Grounding over uncertainty, `log(kl + eps) - log(entropy + eps)`; higher is surer. NaN passes through.

    Both are clamped at 0 first: rounding can leave them a hair below, where the logarithm is NaN.

    >>> visual_score(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 1.0]))
    tensor([ 0.0000, -0.6931])
    """
    return (kl.clamp(min=0) + eps).log() - (entropy.clamp(min=0) + eps).log()


def soft_label_batch(score: Float[Tensor, " N"], compared: Bool[Tensor, " N"] | None = None) -> Float[Tensor, " N"]:
    """Sigmoid of the score standardised over the whole batch, as published: a label depends on its neighbours.

    NaN scores stay NaN and take no part in mean and spread, nor do those that are not `compared` (by default all are);
    a batch without spread gets 0.5.

    >>> soft_label_batch(torch.tensor([1.0, 3.0, float("nan")]))
    tensor([0.2689, 0.7311,    nan])
    """
    return _soft_label(score, _known(score, compared))


def soft_label_group(
    score: Float[Tensor, " N"], group_size: int, compared: Bool[Tensor, " N"] | None = None
) -> Float[Tensor, " N"]:
    """Sigmoid of the score standardised among the completions of its own prompt.

    NaN scores stay NaN and take no part in mean and spread, nor do those that are not `compared` (by default all are);
    a group without spread gets 0.5.

    >>> soft_label_group(torch.tensor([1.0, 3.0, 7.0, 7.0]), 2)
    tensor([0.2689, 0.7311, 0.5000, 0.5000])
    """
    groups = in_groups(score, group_size)
    return _soft_label(groups, _known(score, compared).reshape(groups.shape)).reshape(-1)


def soft_label_window(
    score: Float[Tensor, "*B"], mean: Float[Tensor, "*#B"] | float, std: Float[Tensor, "*#B"] | float
) -> Float[Tensor, "*B"]:
    """Sigmoid of the score standardised by a mean and a spread measured elsewhere, for example over recent steps.

    NaN scores stay NaN; a spread of 0, or none yet (NaN), gives 0.5.

    >>> soft_label_window(torch.tensor([1.0, 3.0]), mean=1.0, std=2.0)
    tensor([0.5000, 0.7311])
    """
    spread = torch.as_tensor(std, dtype=score.dtype, device=score.device)
    z = torch.where(spread > 0, (score - mean) / torch.where(spread > 0, spread, 1), 0)
    return torch.where(score.isnan(), score, z.sigmoid())


def token_soft_labels(
    kl: Float[Tensor, "N T"],
    entropy: Float[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    eps: float = 1e-6,
    compared: Bool[Tensor, " N"] | None = None,
) -> Float[Tensor, "N T"]:
    """Sigmoid of each token's own score, standardised over every token that counts; 0.5, no opinion, elsewhere.

    Tokens of responses that are not `compared` take no part in mean and spread; by default all do.

    >>> kl, entropy = torch.tensor([[1.0, 2.7182817, 9.0]]), torch.ones(1, 3)
    >>> token_soft_labels(kl, entropy, torch.tensor([[True, True, False]]))
    tensor([[0.2689, 0.7311, 0.5000]])
    """
    score = visual_score(kl, entropy, eps)
    counts = mask & ~score.isnan()
    among = counts if compared is None else counts & compared[:, None]
    labels = _soft_label(score.reshape(-1), among.reshape(-1)).reshape(score.shape)
    return torch.where(counts, labels, 0.5)


def _known(score: Tensor, compared: Tensor | None) -> Tensor:
    """True on the scores that mean and spread are of."""
    return ~score.isnan() if compared is None else ~score.isnan() & compared


def _soft_label(score: Tensor, counts: Tensor) -> Tensor:
    mean = masked_mean(score, counts).unsqueeze(-1)
    return soft_label_window(score, mean, masked_std(score, counts).unsqueeze(-1))
