"""Checkpoints of a run: written whole or not at all, and looked at before they are read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vlcal.errors import UserError, one_line
from vlcal.files import write_whole

# What Python raises for a damaged archive, whichever of its bytes are hit.
UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its final place and moves it there: a kill leaves the earlier one.

    Lightning writes it in the folder for temporary files, and copies it where that is on another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a file whole or not at all; what is no file of this machine, Lightning writes."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = BytesIO()
        torch.save(checkpoint, content)
        write_whole(Path(path), content.getvalue())

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """The checkpoint, if it is one, as weights and plain values: nothing of it is executed, whoever asks."""
        if "://" not in str(path):
            check_checkpoint(Path(path))
        try:
            loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=True)
        except UnpicklingError as error:
            raise UserError(
                f"`ckpt_path` must hold weights and plain values alone, since anything else could run code; {path} "
                f"holds more: {str(error).splitlines()[0]}"
            ) from error
        return loaded


def check_checkpoint(path: Path) -> None:
    """Refuse what Lightning did not write as a checkpoint, before a model is made for it.

    Raises:
        UserError: If it is missing, cut short, changed or something else; names the checkpoint before it.
    """
    if not path.exists():
        raise UserError(f"`ckpt_path` must be a checkpoint; {path} is not there.")
    if path.is_dir():
        raise UserError(f"`ckpt_path` must be the file of a checkpoint; {path} is a folder. Name a file in it.")
    reason = _damage(path)
    if reason is not None:
        raise UserError(
            f"`ckpt_path` must be a checkpoint; {path} is damaged or something else: {reason}. {_before(path)}"
        )
    if not _written_by_lightning(path):
        raise UserError(
            f"`ckpt_path` must be a checkpoint that a run wrote; {path} is another archive. {_before(path)}"
        )


def _damage(path: Path) -> str | None:
    """Why a file is no zip archive as it was written; None for one whose members all have their checksums.

    torch compares no checksum when it loads: flipped bytes would be weights.
    """
    try:
        with zipfile.ZipFile(path) as members:
            changed = members.testzip()
    except UNREADABLE as error:  # what was cut short lacks the directory, which stands at the end
        return one_line(error)
    return None if changed is None else f"the bytes of its member {changed} are not those that were written"


def _before(path: Path) -> str:
    """Which checkpoint of the same folder to use in its place: the newest sound one before it."""
    age = path.stat().st_mtime
    older = [one for one in path.parent.glob(f"*{path.suffix}") if one.is_file() and one.stat().st_mtime <= age]
    for one in sorted(older, key=lambda one: one.stat().st_mtime, reverse=True):
        if one != path and _damage(one) is None and _written_by_lightning(one):
            return f"Use the one before it, {one}."
    return f"{path.parent} holds no sound one before it."


def _written_by_lightning(archive: Path) -> bool:
    """Whether the pickle of a zip archive holds the version that Lightning writes; nothing of it is executed."""
    with zipfile.ZipFile(archive) as members:
        pickles = [name for name in members.namelist() if name.endswith("/data.pkl")]
        return any(b"pytorch-lightning_version" in members.read(name) for name in pickles)
