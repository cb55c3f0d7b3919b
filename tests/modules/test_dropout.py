"""Dropout acts where losses are made, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch

from tests.modules.test_chunks import tensors
from vlcal.policy import LoRA, PolicySpec
from vlcal.policy.layers import EveryLayer


class Disturb(lightning.Callback):
    """Gives fresh adapters weights that change what they are put on."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        random = torch.Generator().manual_seed(1)
        for name, weight in pl_module.policy.named_parameters():
            if "lora_B" in name:
                weight.data += 0.03 * torch.randn(weight.shape, generator=random)


def test_sampling_scores_and_labels_know_no_dropout_though_adapters_sit_in_projector_and_tower(
    embedded: Path,
    reinforcement: Callable[..., Any],
    fit: Callable[..., Any],
    scenes: Callable[[int], Any],
) -> None:
    found = []
    for share in (0.0, 0.5):
        spec = PolicySpec(str(embedded), LoRA(2, dropout=share, layers=EveryLayer()), dtype="float32")
        steps = fit(reinforcement(spec=spec), [scenes(2)], callbacks=[Disturb()])
        found.append(steps.outputs[0]["experience"].assessment)

    without, with_dropout = found
    assert with_dropout.rollouts.texts == without.rollouts.texts
    expected = dict(tensors(without))
    assert len(expected) > 10
    for name, value in tensors(with_dropout):
        torch.testing.assert_close(value, expected[name], equal_nan=True, msg=name)
