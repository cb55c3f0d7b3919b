"""The model card says what a reader of an exported checkpoint must know."""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml
from huggingface_hub import ModelCard as HubCard

from vlcal.callbacks.model_card import ModelCard, validated
from vlcal.text import Grammar

ROWS = [
    {"id": str(n), "overall": c, "visual": c, "reasoning": c, "correct": right, "well_formed": True, "response": ""}
    for n, (c, right) in enumerate([(0.75, 1), (0.75, 1), (0.75, 0), (0.75, 1)])
]


def predictions(path: Path, correct: bool = True) -> Path:
    """Four responses at .75, of which three are right."""
    rows = ROWS if correct else [{**row, "correct": None} for row in ROWS]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def card(base: str, run: Path) -> ModelCard:
    data = {"class_path": "vlcal.data.VisionQuestions", "init_args": {"batch_size": 4}}
    return ModelCard(base, data, "vlcal fit --config mine.yaml", Grammar(levels=(0, 3)), *validated(run))


def test_a_card_has_base_data_command_prompt_and_metrics_with_intervals(tmp_path: Path) -> None:
    predictions(tmp_path / "validation.jsonl")
    (tmp_path / "adapter_config.json").write_text("{}")

    card("Qwen/Qwen3-VL-2B-Instruct", tmp_path).write(tmp_path)

    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for said in ("vlcal fit --config mine.yaml", "batch_size: 4", Grammar(levels=(0, 3)).prompt("QUESTION")):
        assert said in text
    lines = {line.split(" | ")[0]: line for line in text.splitlines()}
    assert lines["| accuracy"].count("0.750 (0.250 to 1.000)") == 3  # of the overall, visual and reasoning confidence
    assert lines["| ECE, equal width"].split(" | ")[1].startswith("0.000")  # .75 stated, .75 right
    assert "4 responses to 4 questions, validation.jsonl" in text


def test_the_hub_reads_base_library_and_tags_from_the_front_matter(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")

    card("Qwen/Qwen3-VL-2B-Instruct", tmp_path).write(tmp_path)

    data = HubCard.load(tmp_path / "README.md").data
    assert (data.base_model, data.library_name) == ("Qwen/Qwen3-VL-2B-Instruct", "peft")
    assert {"vlcal", "calibration", "lora"} <= set(data.tags)


def test_a_folder_of_ones_own_is_no_base_on_the_hub_and_its_place_is_not_told(tmp_path: Path) -> None:
    base = tmp_path / "private" / "mine"
    base.mkdir(parents=True)

    card(str(base), tmp_path).write(base)

    text = (base / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert "base_model" not in front and front["library_name"] == "transformers"
    assert "`mine`" in text and str(tmp_path) not in text


def test_figures_are_of_the_latest_predictions_with_verdicts_of_these_weights(tmp_path: Path) -> None:
    for age, name in enumerate(["predictions.jsonl", "before.jsonl", "after.jsonl", "early.jsonl"]):
        path = predictions(tmp_path / name, correct=name != "predictions.jsonl")
        os.utime(path, (1000 - age, 1000 - age))  # the newest has no verdict, the next is of the base

    outputs, _ = validated(tmp_path)
    none, why = validated(tmp_path, since=2000)

    assert outputs is not None and outputs.path.name == "after.jsonl"
    assert none is None and "`vlcal validate`" in why


def test_a_damaged_file_beside_the_run_costs_the_figures_and_not_the_export(tmp_path: Path) -> None:
    (tmp_path / "validation.jsonl").write_text("{not JSON", encoding="utf-8")

    card("Qwen/Qwen3-VL-2B-Instruct", tmp_path).write(tmp_path)

    assert "Not measured: " in (tmp_path / "README.md").read_text(encoding="utf-8")
