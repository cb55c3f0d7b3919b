"""A real `transformers serve` process, asked for real answers about real images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import lightning
import pytest
import torch

from vlcal.callbacks import PredictionWriter
from vlcal.data.digits import DigitsOracle, DigitsPrompts
from vlcal.modules.endpoint import EndpointModule
from vlcal.policy import PolicySpec
from vlcal.policy.engines.endpoint import Decoding, Endpoint
from vlcal.text import Grammar
from vlcal.training.reader import ResponseReader
from vlcal.types import PromptBatch

TOKENS = 12


@pytest.fixture
def endpoint(transformers_serve: str, chatting: Path) -> Endpoint:
    return Endpoint(transformers_serve, str(chatting), concurrency=2, decoding=Decoding(0.0, 1.0, TOKENS))


def test_the_server_writes_what_the_model_itself_writes(
    endpoint: Endpoint, chatting: Path, scenes: Callable[[int], PromptBatch], grammar: Grammar
) -> None:
    prompts, policy = scenes(3), PolicySpec(str(chatting), dtype="float32").build()

    inquiries = endpoint.inquiries(prompts, grammar)
    answers = {inquiry.prompt: answer.text for inquiry, answer in endpoint.ask(inquiries)}
    compared = 0

    # Greedy on both sides: image, question and chat template have arrived as the model is used to them.
    for row in range(3):
        encoded = policy.encode(prompts.select([row]), grammar)
        with torch.no_grad():
            written = policy.backbone.generate(**encoded.model_inputs(), max_new_tokens=TOKENS, do_sample=False)
        own = policy.tokenizer.decode(written[0, encoded.length :], skip_special_tokens=True)
        if "<think>" not in own:  # which the server takes for reasoning, and hands over apart
            assert answers[prompts.ids[row]] == own
            compared += 1
    assert compared > 1


def test_validation_asks_judges_and_writes_predictions(
    endpoint: Endpoint, grammar: Grammar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = EndpointModule(endpoint, ResponseReader(grammar, oracle=DigitsOracle()), tmp_path / "answers.jsonl")
    predictions = tmp_path / "predictions.jsonl"
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[PredictionWriter(predictions)],
    )

    (figures,) = trainer.validate(module, DigitsPrompts(steps=1, batch_size=2, held_out=5), verbose=False)

    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert figures["val/calibration/n"] == len(rows) == 5
    assert [row["certainty"] for row in rows] == [None] * 5
    assert all(row["response"] and row["truncated"] for row in rows)
    assert math.isnan(figures["val/calibration/certainty_auroc"])
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 5
    assert "5/5" in capsys.readouterr().out
