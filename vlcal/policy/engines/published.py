"""The adapter that learns, as `vllm serve` processes have it: each update under a new name, the one before unloaded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from peft import PeftModel

from vlcal.errors import UserError, one_line
from vlcal.policy.adapters import save_learned
from vlcal.policy.engines.server import Server
from vlcal.policy.policy import Policy

NAME = re.compile(r"policy-v(\d+)$")


class PublishedAdapter:
    """Hands the adapter of a policy to servers whenever its weights have changed, or a server does not have it.

    A name is never used twice, since a server may have answers cached under it: numbers go on behind the largest that
    any server holds, and what an earlier run left there is unloaded.

    Args:
        folder: Where adapters are written; servers must see it under the same path. One rank writes below `rank0`, the
            next below `rank1`.
    """

    def __init__(self, folder: Path) -> None:
        rank = dist.get_rank() if dist.is_initialized() else 0
        self._folder = folder.resolve() / f"rank{rank}"
        self._state: tuple[tuple[int, int], ...] | None = None
        self._number = -1

    @property
    def name(self) -> str:
        """Of the newest adapter."""
        return f"policy-v{self._number}"

    def publish(self, policy: Policy, clients: Mapping[Server, Any]) -> None:
        """Make every server hold the adapter as it is now, and no other of this kind.

        Raises:
            UserError: If there is no adapter, or a server does not serve the base model or refuses the adapter.
        """
        if not isinstance(policy.adapted, PeftModel):
            raise UserError(
                "`model.policy.adaptation` must be LoRA or QLoRA for VLLMEngine, which hands servers an adapter after "
                "each update; this policy learns its own weights. Use GroupEngine for it."
            )
        # Every change in place counts the version of a weight up.
        state = tuple((id(weight), weight._version) for weight in policy.parameters() if weight.requires_grad)
        held = {server: _adapters(server, client) for server, client in clients.items()}
        # A server that was started anew has lost it, and another engine, such as that of validation, unloads it.
        if state == self._state and all(self._number in numbers for numbers in held.values()):
            return
        self._number = 1 + max([self._number, *(number for numbers in held.values() for number in numbers)])
        save_learned(policy.adapted, self._folder / self.name)
        for server, client in clients.items():
            load = {"lora_name": self.name, "lora_path": str(self._folder / self.name)}
            _posted(server, client, "load_lora_adapter", load)
            for number in held[server]:
                _posted(server, client, "unload_lora_adapter", {"lora_name": f"policy-v{number}"})
        for old in self._folder.glob("policy-v*"):
            if old.name != self.name:
                shutil.rmtree(old)
        self._state = state


def _adapters(server: Server, client: Any) -> list[int]:
    """The numbers of the adapters of this kind that a server holds.

    Raises:
        UserError: If it does not answer, or serves another model.
    """
    from openai import OpenAIError

    try:
        served = [str(model.id) for model in client.models.list().data]
    except OpenAIError as error:
        raise UserError(f"{server.url} did not say what it serves: {one_line(error)}") from error
    if server.model not in served:
        raise UserError(
            f"`model` of {server.url} must be a model that it serves; it serves {', '.join(served)}, and no "
            f"{server.model!r}. Start `vllm serve` with the checkpoint of the policy, or name it as it is served."
        )
    return [int(found[1]) for found in map(NAME.match, served) if found]


def _posted(server: Server, client: Any, path: str, body: Mapping[str, str]) -> None:
    """A request that changes what adapters a server holds.

    Raises:
        UserError: If it is refused, or not answered.
    """
    from openai import APIStatusError, OpenAIError

    wanted = path.startswith("load")
    try:
        client.post(f"/{path}", cast_to=str, body=body)
    except OpenAIError as error:
        # Of two attempts of which the first was cut short, the second is refused, and all is as it should be.
        if isinstance(error, APIStatusError):
            number = int(NAME.match(body["lora_name"])[1])  # type: ignore[index]
            if (number in _adapters(server, client)) == wanted:
                return
        raise UserError(
            f"{server.url} did not {path.replace('_', ' ')} {body['lora_name']}: {one_line(error)}. "
            "Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, --enable-lora, --max-loras 2 and a --max-lora-rank of "
            "at least `rank`; it must see the folder of `adapters` under the same path."
        ) from error
