"""Logs of Inspect, in the schema of its version 0.3, read into confidences and verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.outputs.inspect_logs import EVAL, archive, sample
from tests.evaluation.outputs.rows import SURE, UNSURE
from vlcal.errors import UserError
from vlcal.evaluation.outputs import Outputs, Request, read_outputs


def one_object(path: Path, *samples: dict[str, Any]) -> Path:
    """The same log as one JSON object."""
    path.write_text(json.dumps({"version": 2, "status": "success", "eval": EVAL, "samples": samples}, indent=2))
    return path


@pytest.mark.parametrize("write", [archive, one_object])
def test_confidences_stand_in_the_text_and_the_one_scorer_is_the_verdict(tmp_path: Path, write: Any) -> None:
    mixed = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": UNSURE}]

    outputs: Outputs = read_outputs(write(tmp_path / "log", sample(1, SURE, match="C"), sample(2, mixed, match="I")))

    assert outputs.confidence["visual"].tolist() == [0.9, 0.2]
    assert outputs.confidence["reasoning"].tolist() == [0.8, 0.5]
    assert outputs.truth["overall"].tolist() == [1, 0]
    assert outputs.dataset.tolist() == ["charts", "charts"]


def test_epochs_of_a_sample_answer_one_question_and_a_column_of_metadata_may_hold_the_confidence(
    tmp_path: Path,
) -> None:
    path = archive(tmp_path / "log.eval", sample(7, "a", 1, match="P"), sample(7, "b", 2, match=1.0))

    outputs = read_outputs(path, Request(confidence="metadata.stated"))

    assert outputs.question.tolist() == ["7", "7"]
    assert outputs.confidence["overall"].tolist() == [0.25, 0.5]
    assert outputs.truth["overall"].tolist() == [0.5, 1]


def test_scorers_that_differ_must_be_chosen_from(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "log.eval",
        sample(1, SURE, match="C", judge={"fluency": 0.5}),
        sample(2, UNSURE, match="I", judge={}),
    )

    with pytest.raises(UserError, match=r"it has match, judge\. Name the one that judges the answer: --correct NAME"):
        read_outputs(path)
    assert read_outputs(path, Request(correct="match")).truth["overall"].tolist() == [1, 0]
    assert read_outputs(path, Request(correct="scores.judge.value.fluency")).truth["overall"][0] == 0.5


def test_a_log_that_was_cut_short_is_refused_by_its_name(tmp_path: Path) -> None:
    whole = one_object(tmp_path / "log.json", sample(1, SURE, match="C"))
    whole.write_text(whole.read_text()[:-40])

    with pytest.raises(UserError, match=r"log\.json: no log that Inspect wrote to its end: JSONDecodeError"):
        read_outputs(whole)
