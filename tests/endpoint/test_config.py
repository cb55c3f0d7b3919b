"""`vlcal validate --config configs/endpoint.yaml`, as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlcal.cli import main
from vlcal.text import Grammar

CONFIG = Path(__file__).parents[2] / "configs" / "endpoint.yaml"

pytest.importorskip("openai")


def test_the_config_asks_the_address_and_writes_predictions(serve: Callable[..., Any], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "What is 1 + 1?", "answer": "2", "images": ["a.png"]}\n')
    said = Grammar().render("a sum", "1 + 1 = 2", "2", "clear", 9, 8)
    server = serve(lambda *_: (200, said))
    endpoint = "--model.init_args.endpoint.init_args"

    main(
        [
            *("validate", "--config", str(CONFIG), "--trainer.default_root_dir", str(tmp_path)),
            *(f"{endpoint}.url", server.url, f"{endpoint}.model", "some-model"),
            *("--data.init_args.validation.init_args.path", str(questions)),
        ]
    )

    (row,) = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert (row["correct"], row["visual"], row["reasoning"], row["response"]) == (1.0, 0.9, 0.8, said)
    assert (tmp_path / "answers.jsonl").is_file()
    assert "Respond in exactly this form" in server.bodies[0]["messages"][0]["content"][1]["text"]
