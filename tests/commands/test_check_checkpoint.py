"""A checkpoint is read only if every byte of it is as it was written; else the one before it is offered."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import torch

from vlcal.errors import UserError
from vlcal.modules.checkpoints import WholeCheckpoints, check_checkpoint

WEIGHT = torch.arange(1000.0)


def written(path: Path, age: int) -> Path:
    """A checkpoint as Lightning writes them, that many seconds before another of age 0."""
    torch.save({"pytorch-lightning_version": "2.6.0", "state_dict": {"weight": WEIGHT}}, path)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def flip(path: Path) -> None:
    """Change one byte of a weight, and not the time at which the file was written."""
    content, age = bytearray(path.read_bytes()), path.stat().st_mtime
    content[content.index(WEIGHT[500:600].numpy().tobytes())] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, (age, age))


def test_a_flipped_byte_is_named_by_its_member_and_the_sound_checkpoint_before_it_is_offered(tmp_path: Path) -> None:
    sound, broken, latest, _ = (written(tmp_path / f"{place}.ckpt", -place) for place in range(4))
    flip(broken)
    flip(latest)

    loaded = torch.load(latest, weights_only=True)["state_dict"]["weight"]
    assert not torch.equal(loaded, WEIGHT)  # torch itself says nothing
    said = r"2\.ckpt is damaged .* its member 2/data/0 are not those that were written"
    with pytest.raises(UserError, match=rf"^`ckpt_path` must be .*{said}\. Use the one before it, {sound}\.$"):
        check_checkpoint(latest)
    sound.unlink()
    with pytest.raises(UserError, match="holds no sound one before it"):
        check_checkpoint(latest)


class Code:
    """What unpickling turns into a call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


def test_nothing_of_a_checkpoint_is_executed_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "strangers.ckpt"
    torch.save({"pytorch-lightning_version": "2.6.0", "state_dict": {}, "more": Code()}, path)

    with pytest.raises(UserError, match="`ckpt_path` must hold weights and plain values alone"):
        WholeCheckpoints().load_checkpoint(path, weights_only=False)
    assert not Path("owned").exists()
    torch.load(path, weights_only=False)  # as Lightning reads it where `weights_only` is false
    assert Path("owned").exists()


@pytest.mark.parametrize("start", [0.0, 0.9])
def test_whichever_byte_is_flipped_or_wherever_the_file_ends_nothing_but_a_refusal_comes(
    tmp_path: Path, start: float
) -> None:
    whole = written(tmp_path / "whole.ckpt", 1).read_bytes()
    damaged = tmp_path / "damaged.ckpt"
    for place in range(int(start * len(whole)), len(whole), 1 + len(whole) // 150):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(UserError):  # not every byte counts
            check_checkpoint(damaged)
        damaged.write_bytes(whole[:place])
        with pytest.raises(UserError, match=r"damaged\.ckpt is damaged or something else: .*it, .*whole\.ckpt\.$"):
            check_checkpoint(damaged)
