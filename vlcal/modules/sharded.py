"""Training of models that exceed one card: ranks share the weights of every block (FSDP2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy, StrategyRegistry
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from vlcal.errors import UserError
from vlcal.modules.policy_module import PolicyModule
from vlcal.policy.sharding import like, shard, whole
from vlcal.training.optimization import PagedAdamW8bit


class ShardedStrategy(ModelParallelStrategy):
    """Data parallel training in which each rank holds a part of every block of the language model.

    A step is that of one process with the prompts of all ranks, as with `ddp`, sampling included. A checkpoint is a
    file of whole weights, as without sharing; it resumes on any number of ranks of this strategy.

    Args:
        process_group_backend: Of torch; None chooses NCCL on GPUs and gloo on the CPU.
        timeout_minutes: After which a rank that waits for others gives up.
    """

    def __init__(self, process_group_backend: str | None = None, timeout_minutes: int = 30) -> None:
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend,
            timeout=timedelta(minutes=timeout_minutes),
        )

    @property
    def lightning_restore_optimizer(self) -> bool:
        """True: the state is in the checkpoint as Lightning keeps it, and `load_optimizer_state_dict` cuts it."""
        return True

    def setup_environment(self) -> None:
        """Make a mesh of all ranks."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: Trainer) -> None:
        """Cut the weights, ahead of the optimizer.

        Raises:
            UserError: If the model or its optimizer cannot be used with weights in parts.
        """
        module = self.lightning_module
        if not isinstance(module, PolicyModule):
            raise UserError(
                f"`strategy` ShardedStrategy cuts the policy of a module; {type(module).__name__} has none."
            )
        for policy in module.policies():
            if not policy.lockstep.together:
                shard(policy, self.device_mesh["data_parallel"])
        parts = any(isinstance(weight, DTensor) and weight.requires_grad for weight in module.parameters())
        if parts and isinstance(module.optimization.optimizer, PagedAdamW8bit):
            raise UserError(
                "`optimization.optimizer` must be TorchAdamW where ranks share weights that learn, since 8-bit state "
                "takes whole weights; got PagedAdamW8bit."
            )
        for weight in module.parameters():
            if weight.requires_grad and not isinstance(weight, DTensor):  # fresh adapters are drawn by each rank
                dist.broadcast(weight.data, src=0)
        super().setup(trainer)

    def on_train_end(self) -> None:
        """Bring whole weights to the first rank, which exports them, where weights in parts have learned."""
        module = self.lightning_module
        if not isinstance(module, PolicyModule):
            return
        named = dict(module.policy.adapted.named_parameters())
        if any(isinstance(weight, DTensor) and weight.requires_grad for weight in named.values()):
            states = module.policy.adapted.state_dict()
            gathered = {name: _on_cpu(value, self.is_global_zero) for name, value in states.items()}
            module.policy.gathered = gathered if self.is_global_zero else None

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole weights, on all ranks."""
        assert self.lightning_module is not None
        return {name: whole(value) for name, value in self.lightning_module.state_dict().items()}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The state of whole weights, on all ranks."""
        own = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        state: dict[str, Any] = tree_map_only(Tensor, whole, own.state_dict())
        return state

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """The checkpoint as it was written; weights and state are cut when they are loaded."""
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this rank's parts of the weights of a checkpoint."""
        assert self.lightning_module is not None
        held, saved = self.lightning_module.state_dict(), checkpoint["state_dict"]
        cut = {name: like(held[name], value) for name, value in saved.items()}
        self.lightning_module.load_state_dict(cut, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this rank's parts of the state of a checkpoint."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            numbers = [number for group in saved["param_groups"] for number in group["params"]]
            state = {
                number: {
                    name: like(weight, value) if isinstance(value, Tensor) and value.shape == weight.shape else value
                    for name, value in saved["state"].get(number, {}).items()
                }
                for number, weight in zip(numbers, weights, strict=True)
            }
            optimizer.load_state_dict({**saved, "state": state})


def _on_cpu(value: Tensor, kept: bool) -> Tensor:
    together = whole(value.detach())
    return together.cpu() if kept else torch.empty(0)


StrategyRegistry.register("sharded", ShardedStrategy, "Ranks share the weights of every block (FSDP2).")
