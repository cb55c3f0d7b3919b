"""The embedded model behind the wire format of `vllm serve`, in a process of its own.

    python vllm_server.py CHECKPOINT PORT

A fault that is posted to `/fault` befalls the chat completion of a number, from then on counted: `die` kills the
process, `cut` leaves a completion out, `busy` is an error of the server, `shout` reads another question, `forget`
ignores the adapter and samples from the base. At `/requests` stand all requests since.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from tests.endpoint.vllm_schema import ChatReply, ChatRequest, LoadAdapter, UnloadAdapter
from vlcal.policy import GroupEngine, LoRA, Policy, PolicySpec
from vlcal.text import Grammar
from vlcal.types import PromptBatch


class Model:
    """What a server holds: a base model, and adapters over it by name."""

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        self.fault, self.number = "", 0
        self.policies: dict[str, Policy] = {checkpoint: PolicySpec(checkpoint, dtype="float32").build()}
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/requests":
            return 200, self.requests
        served = [{"id": name, "object": "model", "created": 0, "owned_by": "vllm"} for name in self.policies]
        return 200, {"object": "list", "data": served}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/fault":
            self.fault, self.number, self.requests = body["fault"], body["number"], []
            return 200, {}
        self.requests.append({"path": path, **body})
        if path == "/v1/load_lora_adapter":
            asked = LoadAdapter.model_validate(body)
            if asked.lora_name in self.policies:
                return 400, f"The lora adapter '{asked.lora_name}' has already been loaded."
            spec = PolicySpec(self.checkpoint, LoRA(adapter=Path(asked.lora_path)), dtype="float32")
            self.policies[asked.lora_name] = spec.build()
            return 200, f"Success: LoRA adapter '{asked.lora_name}' added successfully."
        if path == "/v1/unload_lora_adapter":
            name = UnloadAdapter.model_validate(body).lora_name
            if self.policies.pop(name, None) is None:
                return 404, f"The lora adapter '{name}' cannot be found."
            return 200, f"Success: LoRA adapter '{name}' removed successfully."
        return self.completed(ChatRequest.model_validate(body))

    def completed(self, asked: ChatRequest) -> tuple[int, Any]:
        """The completions, as the engine of this project draws them."""
        chats = sum(request["path"] == "/v1/chat/completions" for request in self.requests)
        fault = self.fault if chats == self.number else ""
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "busy":
            return 500, "busy"
        if asked.model not in self.policies:
            return 404, f"The model `{asked.model}` does not exist."
        policy = self.policies[self.checkpoint if fault == "forget" else asked.model]
        if asked.logit_bias != {str(token): -100.0 for token in policy.placeholders}:
            return 400, "placeholders can be sampled"
        (message,) = asked.messages
        texts = [part.text for part in message.content if part.type == "text"]
        encoded = policy.encode(_prompt(message.content, f"{texts[0]}{'!' if fault == 'shout' else ''}"), GRAMMAR)
        engine = GroupEngine(asked.max_completion_tokens or 1, asked.temperature or 1.0)
        found = engine.sample(policy, encoded, asked.n, [asked.seed or 0])
        prompt = encoded.rows["input_ids"][0].tolist()
        choices = []
        for index, (tokens, mask, log_probs) in enumerate(zip(found.tokens, found.mask, found.log_probs, strict=True)):
            ids = tokens[mask].tolist()
            logged = [
                {"token": f"token_id:{token}", "logprob": value}
                for token, value in zip(ids, log_probs[mask].tolist(), strict=True)
            ]
            ended = "length" if found.truncated[index] else "stop"
            choice = {"index": index, "message": {"content": found.texts[index]}, "finish_reason": ended}
            choices.append({**choice, "logprobs": {"content": logged}, "token_ids": ids})
        if fault == "cut":
            choices.pop()
        written = sum(len(choice["token_ids"]) for choice in choices)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": written, "total_tokens": len(prompt) + written}
        reply = {"id": "chatcmpl-1", "created": int(time.time()), "model": asked.model, "usage": usage}
        return 200, ChatReply.model_validate({**reply, "choices": choices, "prompt_token_ids": prompt}).model_dump()


GRAMMAR = Grammar(instructions="")


def _prompt(parts: list[Any], text: str) -> PromptBatch:
    urls = [part.image_url.url for part in parts if part.type == "image_url"]
    images = [Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB") for url in urls]
    return PromptBatch(("one",), (tuple(to_tensor(image) for image in images),), (text,), ("",), ({},))


def main(checkpoint: str, port: int) -> None:
    """Serve until the process is ended."""
    model = Model(checkpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*model.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with model.lock, torch.no_grad():
                try:
                    status, answer = model.post(self.path, body)
                except ValueError as error:  # of the schema
                    status, answer = 400, str(error)
            self._send(status, answer)

        def _send(self, status: int, answer: Any) -> None:
            failed = {"error": {"message": answer, "type": "Error", "param": None, "code": status}}
            plain = status == 200 and isinstance(answer, str)
            sent = (answer if plain else json.dumps(answer if status == 200 else failed)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if plain else "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *args: Any) -> None: ...

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]))
