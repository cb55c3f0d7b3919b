"""What both kinds of training share."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from vlcal.optimization import Optimization
from vlcal.policy import Policy, PolicySpec


class PolicyModule(lightning.LightningModule):
    """What both kinds of training share: a policy built late, its optimizer, checkpoints of what learns.

    Args:
        policy: Checkpoint and adaptation; built when training or validation starts.
        optimization: How weights are moved.
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

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave prompts where they are: the policy moves what the processor makes of them."""
        return batch

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of what learns, and its learning rate."""
        optimizer, schedule = self.optimization.build(
            self.policy.parameters(), int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The weights that learn; the others are in the checkpoint the policy was built from."""
        learning = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if name in learning}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another policy before any weight is touched."""
        expected, found = set(self.state_dict()), set(checkpoint["state_dict"])
        if expected != found:
            raise ValueError(
                f"`ckpt_path` holds {len(found)} weights, of which {len(found & expected)} belong to this policy, "
                f"which learns {len(expected)}. Use the policy and adaptation it was trained with."
            )

    def descend(self, loss: Tensor) -> Tensor:
        """One optimizer step along the gradient of `loss`; gives the norm of that gradient before clipping."""
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.optimization.clip)
        optimizer.step()  # type: ignore[union-attr]
        schedule.step()  # type: ignore[union-attr, call-arg]
        return norm
