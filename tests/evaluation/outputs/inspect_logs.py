"""Logs as Inspect 0.3 writes them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

EVAL = {
    "run_id": "BpiPFm",
    "created": "2026-10-15T12:53:13-04:00",
    "task": "charts",
    "task_id": "9eTnG3",
    "model": "m/n",
}


def sample(number: int, text: Any, epoch: int = 1, **scores: Any) -> dict[str, Any]:
    """A sample as Inspect writes it, with the value of each scorer."""
    message = {"content": text, "source": "generate", "role": "assistant"}
    choices = [{"message": message, "stop_reason": "stop"}]
    return {
        "id": number,
        "epoch": epoch,
        "input": [
            {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What?"}]}
        ],
        "target": "cat",
        "messages": [message],
        "output": {"model": "n", "choices": choices, "usage": {"input_tokens": 66, "output_tokens": 2}},
        "scores": {name: {"value": value, "answer": "cat"} for name, value in scores.items()},
        "metadata": {"stated": 0.25 * epoch},
        "store": {},
        "events": [{"event": "sample_init", "timestamp": "2026-10-15T12:53:13-04:00"}],
    }


def archive(path: Path, *samples: dict[str, Any]) -> Path:
    """A log in the archive format, written there."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as log:
        log.writestr("_journal/start.json", json.dumps({"version": 2, "eval": EVAL, "plan": {}}))
        for each in samples:
            log.writestr(f"samples/{each['id']}_epoch_{each['epoch']}.json", json.dumps(each, indent=2))
        log.writestr("summaries.json", json.dumps([{"id": each["id"]} for each in samples]))
        log.writestr("header.json", json.dumps({"version": 2, "status": "success", "eval": EVAL}))
    return path
