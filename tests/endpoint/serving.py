"""Server processes of tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Serving:
    """A running process that speaks the wire format of `vllm serve`.

    Args:
        root: Its address.
        checkpoint: Name of its base model.
    """

    root: str
    checkpoint: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.root.rpartition(":")[2])

    @property
    def url(self) -> str:
        """What engines are given."""
        return f"{self.root}/v1"

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What it answers."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.root}{path}", data), timeout=60) as answer:
            return json.loads(answer.read())

    def fail(self, fault: str, number: int = 1) -> None:
        """Let a fault befall the chat completion of this number from now on; an empty one is none."""
        self.ask("/fault", {"fault": fault, "number": number})

    def models(self) -> list[str]:
        """What it serves."""
        return [model["id"] for model in self.ask("/v1/models")["data"]]


@contextmanager
def serving(checkpoint: Path, log: Path, port: int | None = None) -> Iterator[Serving]:
    """A server of the checkpoint, which ends with the context."""
    port = port or free_port()
    script = ROOT / "tests" / "endpoint" / "vllm_server.py"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, str(checkpoint), str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield Serving(f"http://127.0.0.1:{port}", str(checkpoint))
    finally:
        process.kill()
        process.wait(20)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once an address answers."""
    until = time.monotonic() + 300  # a busy machine takes minutes to import torch
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address}:\n{log.read_text()}")
