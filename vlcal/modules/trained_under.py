"""What a checkpoint was trained under, beside what a run would do with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlcal.errors import UserError

Settings = Mapping[str, Any]
Changes = Mapping[str, tuple[Any, Any]]  # by name: in the checkpoint, and here

WEIGHTS = "policy.weights"
# The learned weights mean something else under another value of these.
HELD_BY_WEIGHTS = rf"{WEIGHTS}|policy\.adaptation\.(rank|alpha|layers.*)|.*grammar\.levels"
# The running means of one optimizer say nothing to another.
HELD_BY_TRAINING = r"optimization\.optimizer"
SAMPLED = 256  # numbers of each weight that go into the digest


def weights_digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    """A digest of numbers spread evenly over each weight: tells one checkpoint from another in a moment.

    Quantised weights are left out, since devices may round them differently.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, weight in weights:
        if weight.is_floating_point():
            flat = weight.detach().flatten()
            some = flat[:: max(1, flat.numel() // SAMPLED)].contiguous().cpu()
            digest.update(f"{name} {tuple(weight.shape)}".encode())
            digest.update(some.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def changes(saved: Settings, here: Settings) -> Changes:
    """The settings that both know and that differ; weights in another type or quantised cannot be compared."""
    found = {name: (saved[name], value) for name, value in here.items() if name in saved and saved[name] != value}
    if {"policy.dtype", "policy.adaptation"} & found.keys():
        found.pop(WEIGHTS, None)
    return found


def refuse(changed: Changes, held: str) -> None:
    """Refuse a checkpoint that cannot follow a change.

    Args:
        changed: All changes.
        held: Pattern of the names of settings that must be as they were.

    Raises:
        UserError: If one of them differs; names it, with both values.
    """
    if any(re.fullmatch(held, name) for name in changed):
        named = {name: both for name, both in changed.items() if re.fullmatch(rf"policy\.path|{held}", name)}
        raise UserError(
            f"`ckpt_path` was trained under other settings, which what it holds cannot follow: {_listed(named)}. Set "
            "them back, or name the checkpoint of a run under these."
        )


def described(changed: Changes, unused: Sequence[str]) -> str:
    """In one line the changes, which a run follows from here on, and the parts whose memory it does not use."""
    line = f"The run goes on under other settings than the checkpoint was trained under: {_listed(changed)}."
    return f"{line} What {' and '.join(unused)} remembered is not used." if unused else line


def forgotten(memory: Mapping[str, Any], changed: Changes, name: str) -> list[str]:
    """The parts whose memory is in a checkpoint and of no use, since another class stands in their place.

    Args:
        memory: What parts remember, by name, those that a part holds below its own.
        changed: All changes.
        name: Of what holds the parts.
    """
    found = []
    for key, held in memory.items():
        if (path := f"{name}.{key}") in changed:
            found.append(path)
        elif isinstance(held, Mapping):
            found += forgotten(held, changed, path)
    return found


def _listed(changed: Changes) -> str:
    return ", ".join(f"`{name}` {before!r}, here {here!r}" for name, (before, here) in changed.items())
