"""A policy in parts: each rank holds a share of every block of the language model (FSDP2 of torch)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vlcal.errors import UserError
from vlcal.policy.adapters import adapter_layers
from vlcal.policy.layers import checkpointable, decoder
from vlcal.policy.lockstep import Lockstep
from vlcal.policy.policy import Policy


def shard(policy: Policy, mesh: DeviceMesh) -> None:
    """Leave of every block of the language model, and of its gradients, one part on each rank.

    A block is gathered for its own pass and given back behind it. Adapters, embeddings, head, norms outside blocks and
    the vision tower stay whole on all ranks: they are small, and so are used outside the pass of the decoder. Gradients
    of parts are added over ranks within the backward pass.

    Raises:
        UserError: If weights are quantised, or the model has no blocks.
    """
    language = decoder(policy.backbone)
    blocks = checkpointable(language)
    if not blocks:
        raise UserError(
            f"`path` must be a model whose decoder has blocks that can be shared; that of "
            f"{type(policy.backbone).__name__} has none. Train with `--trainer.strategy ddp`."
        )
    if not all(weight.is_floating_point() for weight in language.parameters()):
        raise UserError(
            "`policy.adaptation` must be LoRA or LanguageModel where ranks share the weights: weights in 4 bits cannot "
            "be cut. Train QLoRA with `--trainer.strategy ddp`, where each card holds the whole model in 4 bits."
        )
    _ = policy.layout  # its trial computes with whole weights
    adapters = {weight for layer in adapter_layers(language) for weight in _of_adapter(layer)}
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=adapters)
        block.set_gradient_divide_factor(1.0)
        block.set_force_sum_reduction_for_comms(True)
    others = set(language.parameters()) - {weight for block in blocks for weight in block.parameters()}
    fully_shard(language, mesh=mesh, ignored_params=others | adapters)
    policy.lockstep = Lockstep(policy.device)


def whole(value: Tensor) -> Tensor:
    """The tensor with the parts of all ranks; every rank must ask for it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(part: Tensor, value: Tensor) -> Tensor:
    """Of a whole tensor what this rank holds, cut as `part` is; as it is where `part` is whole."""
    if not isinstance(part, DTensor):
        return value
    return distribute_tensor(value.to(part.device), part.device_mesh, part.placements)


def _of_adapter(layer: nn.Module) -> list[nn.Parameter]:
    return [weight for name, weight in layer.named_parameters() if "lora_" in name]
