"""From a folder to the model in it: a run, an exported checkpoint or an adapter."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, TypeVar

import torch

from vlcal.errors import UserError
from vlcal.inference.model import CalibratedModel
from vlcal.inference.run_config import RunConfig
from vlcal.modules import SupervisedModule
from vlcal.modules.checkpoints import WholeCheckpoints
from vlcal.policy import Frozen, LoRA, Policy, PolicySpec
from vlcal.policy.folder import CONTRACT

Settings = TypeVar("Settings")


def load(
    path: str | Path,
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str | None = None,
) -> CalibratedModel:
    """The trained model of a folder, ready to be asked.

    Responses are asked for, sampled and read as in the run: by the config.yaml that it wrote, or by the vlcal.yaml that
    an export carries.

    Args:
        path: Folder of a run, such as runs/demo, or the config.yaml of one run where a folder holds several; an
            exported checkpoint folder; the folder of an adapter.
        config: Config of the run, for a folder that does not carry it.
        checkpoint: Checkpoint of a run; left out, the latest that it wrote.
        device: Such as cuda or cpu; left out, the GPU if there is one.

    Raises:
        UserError: If the folder holds no such thing; says what is missing.
    """
    place = Path(path)
    if not place.exists():
        raise UserError(f"`path` must be the folder of a run, a checkpoint or an adapter; {place} is not there.")
    exported = [place / name for name in ("adapter_config.json", "config.json") if (place / name).is_file()]
    run = RunConfig(_config_of(place, config, bool(exported)))
    policy = _of_folder(run.policy(), place).build() if exported else _of_run(run, place, checkpoint)
    pipeline, sampling, image_size = run.asking()
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return CalibratedModel(policy.to(where).eval(), pipeline, sampling.validation_plan(), image_size)


def trained_policy(spec: PolicySpec, checkpoint: Path | None) -> Policy:
    """The policy with the weights of a checkpoint, where one is given.

    Raises:
        UserError: If the checkpoint is not there, damaged, or of another policy.
    """
    read = None if checkpoint is None else WholeCheckpoints().load_checkpoint(checkpoint)
    module = SupervisedModule(spec)
    module.configure_model()
    if read is not None:
        module.on_load_checkpoint(read)
        module.load_state_dict(read["state_dict"], strict=False)
    return module.policy


def _config_of(place: Path, config: str | Path | None, exported: bool) -> Path:
    """The config by which the model of a folder is asked."""
    if config is not None or place.is_file():
        return Path(config or place)
    if not exported:
        return _only_config(place)
    if not (place / CONTRACT).is_file():
        raise UserError(
            f"`config` must name the config of the run, which says in which form responses are asked for and read, "
            f"since {place} has no {CONTRACT}; got none."
        )
    return place / CONTRACT


def _only_config(folder: Path) -> Path:
    """The config that the run in a folder wrote."""
    asking = [path for path in sorted(folder.rglob("config.yaml")) if RunConfig(path).states_confidences]
    if len(asking) == 1:
        return asking[0]
    if asking:
        raise UserError(
            f"`path` must name one run; {folder} holds several. Give the config of one: {', '.join(map(str, asking))}."
        )
    raise UserError(
        f"`path` must be the folder of a run, a checkpoint or an adapter; {folder} holds neither config.json, nor "
        "adapter_config.json, nor the config.yaml of a run whose responses state confidences. Name one by `config`."
    )


def _of_run(run: RunConfig, place: Path, checkpoint: str | Path | None) -> Policy:
    """The policy that a run ended with, whatever has been done with its folder since."""
    bases = [*([place] if place.is_dir() else []), *run.path.resolve().parents]
    spec = run.policy()
    inside = [base for base in run.places(spec.path, bases) if (base / "config.json").is_file()]
    if inside:
        spec = _changed(spec, path=str(inside[0]))
    return trained_policy(spec, Path(checkpoint) if checkpoint is not None else _latest_checkpoint(run, bases))


def _latest_checkpoint(run: RunConfig, bases: list[Path]) -> Path:
    places = [place for folder in run.checkpoint_folders() for place in run.places(folder, bases)]
    for place in places:
        if found := sorted(place.glob("*.ckpt"), key=lambda path: path.stat().st_mtime):
            return found[-1]
    raise UserError(
        f"`checkpoint` must name a checkpoint of the run, since there is none where {run.path} has them written: "
        f"{', '.join(map(str, places)) or 'it has no ModelCheckpoint with a dirpath'}."
    )


def _of_folder(spec: PolicySpec, folder: Path) -> PolicySpec:
    """The policy of a run with the adapter, or the weights, of an exported folder."""
    if not (folder / "adapter_config.json").is_file():
        return _changed(spec, path=str(folder), adaptation=Frozen())
    if not isinstance(spec.adaptation, LoRA):
        raise UserError(
            f"`config` must describe LoRA or QLoRA, since {folder} holds an adapter; got "
            f"{type(spec.adaptation).__name__}."
        )
    return _changed(spec, adaptation=_changed(spec.adaptation, adapter=folder))


def _changed(settings: Settings, **values: Any) -> Settings:
    """The same settings with other values of some."""
    other = copy.copy(settings)
    for name, value in values.items():
        setattr(other, name, value)
    return other
