"""Validation of an endpoint: figures, records, and going on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
from torch.utils.data import DataLoader

from vlcal.callbacks import CompletionTable, PredictionWriter, ReliabilityDiagram
from vlcal.data.digits import DigitsOracle
from vlcal.modules.endpoint import EndpointModule
from vlcal.policy.engines.endpoint import Endpoint
from vlcal.text import Grammar
from vlcal.training.reader import ResponseReader
from vlcal.types import PromptBatch

pytest.importorskip("openai")


@pytest.fixture
def validate(tmp_path: Path, grammar: Grammar) -> Callable[..., dict[str, float]]:
    """Validates an address on prompts, two a batch; the figures."""

    def run(url: str, prompts: PromptBatch, *callbacks: lightning.Callback, **settings: Any) -> dict[str, float]:
        endpoint = Endpoint(url, "m", concurrency=1, retries=0)
        reader = ResponseReader(grammar, oracle=DigitsOracle())
        module = EndpointModule(endpoint, reader, tmp_path / "answers.jsonl")
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(
            accelerator="cpu", callbacks=list(callbacks), enable_model_summary=False, **{**quiet, **settings}
        )
        pairs = [prompts.select([row, row + 1]) for row in range(0, len(prompts), 2)]
        (figures,) = trainer.validate(module, DataLoader(pairs, batch_size=None), verbose=False)
        return {name.removeprefix("val/calibration/"): value for name, value in figures.items()}

    return run


@pytest.fixture
def told(respond: Callable[..., list[str]]) -> Callable[[PromptBatch], Callable[..., tuple[int, str]]]:
    """A reply that knows the well-formed response to each question, right ones for the first half."""

    def replies(prompts: PromptBatch) -> Callable[..., tuple[int, str]]:
        pairs = zip(respond(prompts, (0,)), respond(prompts, (1,)), strict=True)
        half = len(prompts) // 2
        texts = [right if row < half else wrong for row, (right, wrong) in enumerate(pairs)]
        return lambda body, before: (200, texts[before])

    return replies


def test_figures_are_those_of_the_texts(
    serve: Callable[..., Any],
    scenes: Callable[[int], PromptBatch],
    told: Callable[..., Any],
    validate: Callable[..., dict[str, float]],
) -> None:
    prompts = scenes(4)

    figures = validate(serve(told(prompts)).url, prompts)

    # All stated 0.7 for seeing, all saw right: the gap is 0.3.
    assert figures["accuracy"] == 0.5
    assert figures["read_rate"] == figures["parse_rate"] == 1.0
    assert figures["visual_ece"] == pytest.approx(0.3)


def test_observers_of_reinforcement_watch_an_endpoint_too(
    serve: Callable[..., Any],
    scenes: Callable[[int], PromptBatch],
    told: Callable[..., Any],
    validate: Callable[..., dict[str, float]],
    tmp_path: Path,
) -> None:
    prompts = scenes(4)
    logger = lightning.pytorch.loggers.TensorBoardLogger(tmp_path / "board")
    predictions = tmp_path / "predictions.jsonl"

    observers = PredictionWriter(predictions), CompletionTable(), ReliabilityDiagram()
    validate(serve(told(prompts)).url, prompts, *observers, logger=logger)

    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert [row["id"] for row in rows] == list(prompts.ids)
    assert [row["correct"] for row in rows] == [1, 1, 0, 0]
    assert {row["visual"] for row in rows} == {0.7}
    assert {(row["certainty"], row["reward"]) for row in rows} == {(None, None)}


def test_a_run_that_was_cut_short_asks_only_for_what_is_missing(
    serve: Callable[..., Any],
    scenes: Callable[[int], PromptBatch],
    told: Callable[..., Any],
    validate: Callable[..., dict[str, float]],
) -> None:
    prompts = scenes(6)
    whole = told(prompts)
    failing = serve(lambda body, before: whole(body, before) if before < 3 else (400, "gone"))
    with pytest.raises(ValueError, match="gone"):
        validate(failing.url, prompts)

    again = serve(lambda body, before: whole(body, before + 3))
    figures = validate(again.url, prompts)

    assert (len(failing.bodies), len(again.bodies)) == (4, 3)
    complete = validate(serve(lambda *_: (500, "never asked")).url, prompts)
    assert figures == pytest.approx(complete, nan_ok=True)
    assert figures["n"] == 6 and figures["accuracy"] == 0.5


def test_answers_are_counted_on_the_screen_where_no_batches_are(
    serve: Callable[..., Any],
    scenes: Callable[[int], PromptBatch],
    told: Callable[..., Any],
    validate: Callable[..., dict[str, float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompts = scenes(4)

    validate(serve(told(prompts)).url, prompts)

    assert "answers" in capsys.readouterr().out


def test_training_is_refused(tmp_path: Path) -> None:
    module = EndpointModule(Endpoint("http://localhost/v1", "m"), answers=tmp_path / "a.jsonl")

    with pytest.raises(ValueError, match="nothing in it can learn"):
        module.setup("fit")
