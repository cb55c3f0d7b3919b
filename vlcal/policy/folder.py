"""Checkpoint folders, written as a whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

from vlcal.errors import UserError
from vlcal.files import write_whole

CHECKPOINT_MARKS = ("config.json", "adapter_config.json")
CONTRACT = "vlcal.yaml"


def refuse_other_content(folder: Path) -> None:
    """Refuse to write a checkpoint over something else.

    Raises:
        UserError: If the folder is neither new, nor empty, nor a checkpoint folder.
    """
    if folder.exists() and not _replaceable(folder):
        raise UserError(
            f"`folder` must be new, empty, or a checkpoint folder to be replaced; {folder} holds something else. Name "
            "a folder inside it."
        )


def write_checkpoint_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside its destination, then rename it; an earlier folder is removed last."""
    partial, old = (folder.with_name(f".{folder.name}.{end}") for end in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_contract(folder: Path, model: Mapping[str, Any], image_size: Mapping[str, Any] | None) -> None:
    """Write beside a checkpoint how its responses are asked for and read, for `vlcal.load`.

    Args:
        folder: Of the checkpoint.
        model: The `model` section of the run's config.
        image_size: Bounds on the pixels of an image, as its data section has them.
    """
    settings: dict[str, Any] = {"model": dict(model)}
    if image_size is not None:
        settings["data"] = {"init_args": {"image_size": dict(image_size)}}
    header = "# How the run that trained this checkpoint asks for responses and reads them; `vlcal.load` obeys it.\n"
    write_whole(folder / CONTRACT, header + yaml.safe_dump(settings, sort_keys=False))


def store_as(folder: Path, dtype: torch.dtype) -> None:
    """Store the weights of a checkpoint folder in another dtype, which `config.json` then names."""
    for file in folder.glob("*.safetensors"):
        weights = load_file(file)
        stored = {name: each.to(dtype) if each.is_floating_point() else each for name, each in weights.items()}
        save_file(stored, file, {"format": "pt"})
    config = folder / "config.json"
    if config.is_file():
        named = re.sub(r'"dtype": "\w+"', f'"dtype": "{str(dtype).removeprefix("torch.")}"', config.read_text())
        write_whole(config, named)


def _replaceable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or any((folder / mark).is_file() for mark in CHECKPOINT_MARKS)
