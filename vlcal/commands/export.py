"""`vlcal export`: what a run learned, as a checkpoint folder that needs neither vlcal nor peft."""

from __future__ import annotations

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from vlcal.errors import UserError

if TYPE_CHECKING:
    from vlcal.policy import Policy, PolicySpec


def export(config: Path, folder: Path, ckpt_path: Path | None = None) -> None:
    """Write the policy of a run as an ordinary checkpoint folder, adapters merged into its weights.

    The folder holds weights in safetensors, processor, tokenizer, chat template and generation settings, and appears
    when it is complete. Adapters are merged into the base in the dtype of the policy; those of QLoRA into the base as
    it was before it was quantised, which needs the host memory of that base and no GPU.

    Args:
        config: Config of the run: the file given to `vlcal fit --config`, or the config.yaml that the run wrote.
        folder: Where to; it must be new, empty, or a checkpoint folder, which is replaced.
        ckpt_path: Checkpoint that the run wrote, such as last.ckpt. Left out, the policy is written as the run starts
            it, which makes sense where `adapter` names what an earlier run learned.
    """
    from vlcal.policy.adapters import merge
    from vlcal.policy.folder import refuse_other_content, write_checkpoint_folder

    refuse_other_content(folder)
    spec = policy_spec(config)
    if ckpt_path is None and getattr(spec.adaptation, "adapter", None) is None:
        raise UserError(
            f"`ckpt_path` must name a checkpoint of the run, since {config} starts from no `adapter` that could be "
            "merged without one; got none."
        )
    policy = trained_policy(spec.in_full_precision(), ckpt_path)
    model = merge(policy.adapted)

    def write(partial: Path) -> None:
        model.save_pretrained(partial)
        policy.processor.save_pretrained(partial)

    write_checkpoint_folder(folder, write)


def policy_spec(config: Path) -> PolicySpec:
    """The policy that a run's config describes; nothing else of the config is made.

    Raises:
        UserError: If the file is not there or describes no policy.
    """
    from jsonargparse import ArgumentError, auto_cli
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if not config.is_file():
        raise UserError(f"`config` must be the YAML file of a run; {config} is not there.")
    try:
        described = OmegaConf.select(OmegaConf.load(config), "model.init_args.policy")
        settings = json.dumps(OmegaConf.to_container(described, resolve=True))
        spec: PolicySpec = auto_cli(_given, args=["--policy", settings], as_positional=False, exit_on_error=False)
    except (OmegaConfBaseException, YAMLError, ArgumentError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"`config` must describe a policy at model.init_args.policy; {config} does not: {reason}"
        ) from error
    return spec


def trained_policy(spec: PolicySpec, ckpt_path: Path | None) -> Policy:
    """The policy with the weights of a checkpoint, where one is given.

    Raises:
        UserError: If the checkpoint is not there, or of another policy.
    """
    from vlcal.modules import PolicyModule
    from vlcal.training.optimization import Optimization

    checkpoint = None if ckpt_path is None else _read(ckpt_path)
    module = PolicyModule(spec, Optimization())
    module.configure_model()
    if checkpoint is not None:
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"], strict=False)
    return module.policy


def _given(policy: PolicySpec) -> PolicySpec:
    return policy


def _read(ckpt_path: Path) -> dict[str, Any]:
    import torch

    try:
        checkpoint: dict[str, Any] = torch.load(ckpt_path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"`ckpt_path` must be a checkpoint that a run wrote; {ckpt_path} is none: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"`ckpt_path` must be a checkpoint that a run wrote; {ckpt_path} has no weights.")
    return checkpoint
