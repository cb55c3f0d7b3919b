"""Servers that answer: a small one that does as it is told, and `transformers serve` with the embedded model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint.serving import free_port, wait_for

Reply = Callable[[dict[str, Any], int], tuple[int, str | dict[str, str]]]  # status, and the text or whole message


class ChatServer:
    """Answers chat completions over HTTP by a function of the body and of how many requests came before."""

    def __init__(self, reply: Reply) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    before = len(server.bodies)
                    server.bodies.append(body)
                    server.headers.append({name.lower(): value for name, value in self.headers.items()})
                    server._now += 1
                    server.most_at_once = max(server.most_at_once, server._now)
                status, text = reply(body, before)
                with server._lock:
                    server._now -= 1
                said = text if isinstance(text, dict) else {"content": text}
                message = {"role": "assistant", "content": None, **said}
                choice = {"index": 0, "message": message, "finish_reason": "length" if text == "cut" else "stop"}
                answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
                sent = json.dumps(answer if status == 200 else {"error": {"message": text}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], ChatServer]]:
    """Starts servers that do as they are told; they end with the test."""
    running: list[ChatServer] = []

    def started(reply: Reply) -> ChatServer:
        running.append(ChatServer(reply))
        return running[-1]

    yield started
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def chatting(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with the line break before an answer that Qwen's template has and the server looks for."""
    folder = tmp_path_factory.mktemp("chatting") / "model"
    shutil.copytree(embedded, folder)
    template = folder / "chat_template.jinja"
    text = template.read_text()
    assert text.count("assistant{%") == 1
    template.write_text(text.replace("assistant{%", "assistant{{ '\\n' }}{%"))
    return folder


@pytest.fixture(scope="session")
def transformers_serve(chatting: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real `transformers serve` process with the embedded model."""
    for needed in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(needed)
    port = free_port()
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
    arguments = ["serve", str(chatting), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as output:
        process = subprocess.Popen([*command, *arguments], stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)
