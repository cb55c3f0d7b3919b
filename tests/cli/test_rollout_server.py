"""A run whose completions come from a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.endpoint.serving import Serving, serving
from vlcal.cli import main

pytest.importorskip("openai")
# Lightning, of every run that goes on in its own folder.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning")

SAMPLING = "--model.init_args.sampling.init_args"


def arguments(small: list[str], folder: Path, server: Serving) -> list[str]:
    """A run of three steps that samples from a server and saves each."""
    servers = [{"class_path": "vlcal.policy.Server", "init_args": {"url": server.url, "model": server.checkpoint}}]
    servers[0]["init_args"]["retries"] = 0  # type: ignore[index]
    engine = {"servers": servers, "adapters": str(folder / "adapters"), "max_new_tokens": 4}
    saved = {"dirpath": str(folder / "checkpoints"), "every_n_train_steps": 1, "save_last": True}
    start = small.index("--trainer.enable_checkpointing")
    callback = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": saved}
    return [
        *("fit", *small[:start], *small[start + 2 :], "--trainer.callbacks", json.dumps([callback])),
        *("--data.init_args.steps", "3", f"{SAMPLING}.starts", "vlcal.training.FreeStarts"),
        *("--model.init_args.policy.init_args.adaptation", "vlcal.policy.LoRA"),
        *(f"{SAMPLING}.training", json.dumps({"class_path": "vlcal.policy.VLLMEngine", "init_args": engine})),
    ]


def test_a_server_that_dies_in_a_step_ends_the_run_in_one_line_and_its_checkpoint_resumes(
    small: list[str], folder: Path
) -> None:
    last = folder / "checkpoints" / "last.ckpt"
    with serving(folder / "warm", folder / "first.log") as server:
        server.fail("die", 6)  # of two prompts a step, the second of the last

        with pytest.raises(SystemExit, match=r"^vlcal: error: [^\n]* nothing was learned from this batch[^\n]*$"):
            main(arguments(small, folder, server))
    assert torch.load(last, weights_only=True)["global_step"] == 2

    with serving(folder / "warm", folder / "second.log", server.port) as server:
        main([*arguments(small, folder, server), "--ckpt_path", "last"])
        chats = [request for request in server.ask("/requests") if request["path"] == "/v1/chat/completions"]
    assert torch.load(last, weights_only=True)["global_step"] == 3
    assert len(chats) == 2  # the step that was broken off
