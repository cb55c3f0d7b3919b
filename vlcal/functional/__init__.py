"""Pure tensor mathematics of the method; knows torch and nothing else."""

from __future__ import annotations

from vlcal.functional.advantages import group_centered, group_standardized, leave_one_out
from vlcal.functional.certainty import (
    soft_label_batch,
    soft_label_group,
    soft_label_window,
    token_soft_labels,
    visual_score,
)
from vlcal.functional.groups import in_groups
from vlcal.functional.masked import masked_mean, masked_std, masked_sum
from vlcal.functional.scoring import (
    brier_score,
    harmonic_confidence,
    log_score,
    minimum_confidence,
    product_confidence,
    spherical_score,
)
from vlcal.functional.surrogate import (
    clipped_surrogate,
    k3_penalty,
    sequence_mean_token_mean,
    sequence_mean_token_sum_norm,
    token_mean,
)
from vlcal.functional.vocabulary import (
    Head,
    distillation_kl,
    sampled_kl_k1,
    sampled_kl_k3,
    token_log_probs,
    token_statistics,
    vocabulary_kl,
)

__all__ = [
    "Head",
    "brier_score",
    "clipped_surrogate",
    "distillation_kl",
    "group_centered",
    "group_standardized",
    "harmonic_confidence",
    "in_groups",
    "k3_penalty",
    "leave_one_out",
    "log_score",
    "masked_mean",
    "masked_std",
    "masked_sum",
    "minimum_confidence",
    "product_confidence",
    "sampled_kl_k1",
    "sampled_kl_k3",
    "sequence_mean_token_mean",
    "sequence_mean_token_sum_norm",
    "soft_label_batch",
    "soft_label_group",
    "soft_label_window",
    "spherical_score",
    "token_log_probs",
    "token_mean",
    "token_soft_labels",
    "token_statistics",
    "visual_score",
    "vocabulary_kl",
]
