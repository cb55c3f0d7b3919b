"""What both kinds of training share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vlcal.errors import UserError
from vlcal.policy import Policy, PolicySpec
from vlcal.training.optimization import Optimization


class PolicyModule(lightning.LightningModule):
    """What both kinds of training share: a policy built late, its optimizer, checkpoints of what learns.

    Args:
        policy: Checkpoint and adaptation; built when training or validation starts.
        optimization: How weights are updated.
    """

    def __init__(self, policy: PolicySpec, optimization: Optimization) -> None:
        super().__init__()
        self.spec = policy
        self.optimization = optimization
        self.automatic_optimization = False
        self.strict_loading = False
        self._policy: Policy | None = None

    @property
    def policy(self) -> Policy:
        """The policy, once `configure_model` has run."""
        if self._policy is None:
            raise RuntimeError("`policy` is built when training or validation starts; call `configure_model` first.")
        return self._policy

    def configure_model(self) -> None:
        """Build the policy, once."""
        if self._policy is None:
            self._policy = self.spec.build()

    def on_fit_start(self) -> None:
        """Switch the dropout of adapters on, which a policy is built without."""
        self.policy.train()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of what learns, and its learning rate."""
        batches = self.trainer.estimated_stepping_batches
        if math.isinf(batches):
            raise UserError(
                "`trainer.max_epochs` or `trainer.max_steps` must be set, since the learning rate is planned over the "
                "whole run; got neither."
            )
        optimizer, schedule = self.optimization.build(self.policy.parameters(), int(batches))
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the learning rate on, once a batch, into however many updates that was cut."""
        self.lr_schedulers().step()  # type: ignore[union-attr]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The weights that learn; the others are in the checkpoint the policy was built from."""
        learning = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if name in learning}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another policy before any weight is touched."""
        expected = {(name, weight.shape) for name, weight in self.state_dict().items()}
        saved = {(name, weight.shape) for name, weight in checkpoint["state_dict"].items()}
        if expected != saved:
            raise UserError(
                f"`ckpt_path` holds {len(saved)} weights, of which {len(saved & expected)} fit this policy, "
                f"which learns {len(expected)}. Use the policy and adaptation it was trained with."
            )

    def update_weights(self, losses: Iterable[Tensor]) -> Tensor:
        """One optimizer step along the gradient of the sum of `losses`; gives its norm before clipping.

        The backward pass of each loss ends before the next loss is computed, so that one graph at a time is in memory.
        On several ranks gradients are averaged once, after the last loss.
        """
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.policy.train()  # dropout acts, and activations are recomputed, while losses are made and nowhere else
        with self._own_gradients():
            for loss in losses:
                self.manual_backward(loss)
        self._average_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.optimization.clip)
        optimizer.step()  # type: ignore[union-attr]
        return norm

    def _own_gradients(self) -> AbstractContextManager[None]:
        """A context in which no pass waits for other ranks, which may need more passes or fewer."""
        wrapped = self.trainer.strategy.model
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()

    def _average_gradients(self) -> None:
        """Average gradients over ranks."""
        if self.trainer.world_size > 1:
            for weight in self.policy.parameters():
                if weight.requires_grad:
                    weight.grad = self.trainer.strategy.reduce(
                        torch.zeros_like(weight) if weight.grad is None else weight.grad, reduce_op="mean"
                    )
