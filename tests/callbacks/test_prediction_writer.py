"""Predictions are strict JSON, name images that are there, and say how sure each vision token was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlcal.callbacks import PredictionWriter
from vlcal.callbacks.completions import vision_tokens
from vlcal.types import Assessment

Make = Callable[..., Any]
NAN = math.nan
GREY, BLACK = torch.full((3, 8, 16), 0.5), torch.zeros(3, 8, 16)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_predictions_are_strict_json_with_null_for_what_is_absent(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "predictions.jsonl"
    strange = build(
        texts=['"quoted"\n', "是", "\ud800", ""], perception_correct=[1, 0, 1, NAN], score=[1, 2, 3, math.inf]
    )
    run = trainer(PredictionWriter(path, image_side=0))
    run.validate(learner([strange, build()]), loader(2), verbose=False)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    rows = [json.loads(line, parse_constant=refuse) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 8
    assert [row["response"] for row in rows[:4]] == ['"quoted"\n', "是", "\ud800", ""]
    assert rows[0] == {
        "id": "scene-0",
        "question_id": None,
        "dataset": None,
        "question": "What is the sum?",
        "target": "9",
        "response": '"quoted"\n',
        "answer": "9",
        "well_formed": True,
        "truncated": False,
        "correct": 1.0,
        "visual": 0.9,
        "reasoning": 0.9,
        "overall": 0.9,
        "perception_correct": 1.0,
        "reasoning_correct": None,
        "certainty": 0.5,
        "certainty_score": 1.0,
        "reward": 1.0,
        "rewards": {"accuracy": 1.0, "visual": -1.0},
        "clearness": None,
        "images": [],
        "vision_tokens": None,
    }
    assert rows[3]["visual"] is rows[3]["perception_correct"] is rows[3]["certainty_score"] is None
    assert names_in(path.parent) == ["predictions.jsonl"]


def test_a_broken_evaluation_leaves_the_earlier_predictions(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.jsonl"

    class Broken(learner):
        def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Assessment]:
            if batch_idx == 1:
                raise RuntimeError("no more")
            return super().validation_step(batch, batch_idx)

    trainer(PredictionWriter(path)).validate(learner([build()]), loader(2), verbose=False)
    complete, kept = path.read_text(), names_in(tmp_path / "predictions.images")
    other = build(images=[(BLACK,)] * 4)
    with pytest.raises(RuntimeError, match="no more"):
        trainer(PredictionWriter(path)).validate(Broken([other]), loader(2), verbose=False)
    assert path.read_text() == complete
    assert names_in(tmp_path) == ["predictions.images", "predictions.jsonl"]
    assert names_in(tmp_path / "predictions.images") == kept


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_predictions_of_every_kind_of_evaluation_are_written(
    stage: str, build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.jsonl"
    settings = {"test": {"verbose": False}, "predict": {"return_predictions": False}}[stage]
    getattr(trainer(PredictionWriter(path)), stage)(learner([build()]), loader(1), **settings)
    assert len(path.read_text().splitlines()) == 4


def test_a_prediction_is_written_once_into_the_new_file_of_the_last_writer(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    both = [PredictionWriter(tmp_path / name, image_side=0) for name in ("validation.jsonl", "mine.jsonl")]

    trainer(*both).predict(learner([build()]), loader(1), return_predictions=False)

    assert names_in(tmp_path) == ["mine.jsonl"] and len(rows_of(tmp_path / "mine.jsonl")) == 4
    with pytest.raises(ValueError, match="`path` must be new, since a prediction takes no file's place"):
        trainer(*both).predict(learner([build()]), loader(1), return_predictions=False)


def test_images_are_named_relative_to_the_file_and_equal_ones_are_kept_once(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "val.jsonl"
    shown = build(group_size=2, images=[(GREY, BLACK), (GREY,)])
    trainer(PredictionWriter(path)).validate(learner([shown]), loader(1), verbose=False)
    first, second, third, fourth = (row["images"] for row in rows_of(path))
    assert first == second and third == fourth == first[:1]
    assert [name.split("/")[0] for name in first] == ["val.images", "val.images"]
    assert len(names_in(tmp_path / "val.images")) == 2
    with Image.open(tmp_path / first[0]) as image:
        assert (image.format, image.size) == ("PNG", (16, 8))
        assert np.unique(np.asarray(image)).tolist() == [128]


def test_a_large_image_is_scaled_down_and_keeps_its_shape(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "val.jsonl"
    trainer(PredictionWriter(path, image_side=8)).validate(learner([build()]), loader(1), verbose=False)
    with Image.open(tmp_path / rows_of(path)[0]["images"][0]) as image:
        assert image.size == (8, 4)


def test_images_of_an_earlier_evaluation_go_and_foreign_files_stay(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "val.jsonl"
    trainer(PredictionWriter(path)).validate(learner([build()]), loader(1), verbose=False)
    (tmp_path / "val.images" / "mine.png").write_bytes(b"")
    other = build(images=[(BLACK,)] * 4)
    trainer(PredictionWriter(path)).validate(learner([other]), loader(1), verbose=False)
    kept = Path(rows_of(path)[0]["images"][0]).name
    assert names_in(tmp_path / "val.images") == sorted([kept, "mine.png"])


def test_a_negative_image_side_is_refused() -> None:
    with pytest.raises(ValueError, match="`image_side` must be at least 0 pixels.*got -1"):
        PredictionWriter(Path("x.jsonl"), image_side=-1)


def test_data_set_and_question_come_from_the_extras(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "val.jsonl"
    named = build(extras=[{"dataset": "charts", "question_id": 7}, *[{}] * 3])
    trainer(PredictionWriter(path)).validate(learner([named]), loader(1), verbose=False)
    rows = rows_of(path)
    assert [(row["dataset"], row["question_id"]) for row in rows[:2]] == [("charts", "7"), (None, None)]


class Letters:
    """A tokenizer whose token n is the n-th letter; 26 and 27 are one emoji together."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        text = "".join(chr(97 + token) if token < 26 else {26: "<", 27: ">"}[token] for token in token_ids)
        return text.replace("<>", "🙂").replace("<", "\ufffd").replace(">", "\ufffd")


def seen(build: Make, tokens: list[list[int]], vision: list[list[bool]], certainty: list[list[float]]) -> Assessment:
    """Assessment whose vision spans and certainties are given; the third token of each row is its end."""
    made: Assessment = build(visual=[0.5] * len(tokens), correct=[1] * len(tokens))
    spans = replace(made.responses.spans, vision=torch.tensor(vision))
    return replace(
        made,
        rollouts=replace(made.rollouts, tokens=torch.tensor(tokens)),
        responses=replace(made.responses, spans=spans),
        certainty=replace(made.certainty, token=torch.tensor(certainty)),
    )


def test_vision_tokens_are_the_pieces_of_the_vision_part_with_their_certainty(build: Make) -> None:
    made = seen(
        build,
        [[0, 1, 2], [3, 4, 5]],
        [[False, True, True], [False, False, False]],
        [[0.5, 0.25, 0.75], [0.5, 0.5, 0.5]],
    )
    assert vision_tokens(made, Letters()) == [[("b", 0.25), ("c", 0.75)], None]
    assert vision_tokens(made, None) == [None, None]


def test_a_character_of_several_tokens_belongs_to_the_first_so_that_the_pieces_join_to_the_text(build: Make) -> None:
    made = seen(build, [[26, 27, 0]], [[True, True, True]], [[0.1, 0.2, 0.3]])
    ((first, second, third),) = vision_tokens(made, Letters())  # type: ignore[misc]
    assert first[0] + second[0] + third[0] == "🙂a"
    assert (second[1], third) == (pytest.approx(0.2), ("a", pytest.approx(0.3)))


def test_the_tokenizer_of_the_policy_gives_the_pieces(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    path = tmp_path / "val.jsonl"
    made = seen(build, [[0, 1, 2]], [[True, False, False]], [[0.125, 0.5, 0.5]])
    module = learner([made])
    module.policy = SimpleNamespace(tokenizer=Letters())
    trainer(PredictionWriter(path)).validate(module, loader(1), verbose=False)
    assert [row["vision_tokens"] for row in rows_of(path)] == [[["a", 0.125]]]
