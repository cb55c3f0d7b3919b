"""The page holds every response that fits, and a limited number of images by a stated rule."""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlcal.evaluation.report import samples
from vlcal.evaluation.report.runs import load_runs
from vlcal.evaluation.report.samples import Samples, pack_samples
from vlcal.evaluation.report.written import samples_note

Make = Callable[..., Any]


def unpacked(found: Samples) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(found.packed)))


def picture(path: Path, size: tuple[int, int] = (20, 10)) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, (9, 99, 199)).save(path)
    return f"{path.parent.name}/{path.name}"


def test_responses_of_all_runs_share_their_question(write: Make, row: Make) -> None:
    runs = load_runs([write("a.jsonl", [row(0), row(1)]), write("b.jsonl", [row(1, overall=None, answer=None)])])
    found = pack_samples(runs, images=10)
    held = unpacked(found)
    assert [question["id"] for question in held["questions"]] == ["q0", "q1"]
    assert [run["question"] for run in held["runs"]] == [[0, 1], [1]]
    assert held["runs"][0]["tokens"][0] == [["a ", "7"], [0.2, 0.9]]
    assert "answer" not in held["runs"][1] and "overall" not in held["runs"][1]
    assert held["runs"][0]["truths"]["visual"] == "perception_correct"
    assert (found.kept, found.responses, found.questions) == (3, 3, 2)
    assert samples_note(found).startswith("Every response. The prediction files name no images")


def test_images_of_confident_mistakes_are_kept_first(write: Make, mixed: Make, tmp_path: Path) -> None:
    rows = mixed()
    for number, each in enumerate(rows):
        each["images"] = [picture(tmp_path / "shown" / f"{number}.png")]
    runs = load_runs([write("val.jsonl", rows)])

    def pictured(limit: int) -> list[str]:
        questions = unpacked(pack_samples(runs, images=limit))["questions"]
        return [question["id"] for question in questions if question["images"]]

    assert pictured(2) == ["q4", "q5"]  # confidently wrong
    assert pictured(3) == ["q4", "q5", "q6"]  # unsure but right
    assert pictured(4) == ["q4", "q5", "q6", "q7"]  # unparsed
    assert pictured(5) == ["q0", "q4", "q5", "q6", "q7"]  # and on in the order of the file
    assert pictured(0) == []
    assert "5 of 8 questions with images" in samples_note(pack_samples(runs, images=5))
    assert "each with the images" in samples_note(pack_samples(runs, images=8))


def test_a_small_image_is_kept_exactly_and_a_large_one_as_a_small_photograph(
    write: Make, row: Make, tmp_path: Path
) -> None:
    names = [picture(tmp_path / "shown" / "a.png"), picture(tmp_path / "shown" / "b.png", (1000, 500)), "gone.png"]
    found = pack_samples(load_runs([write("val.jsonl", [row(images=names)])]), images=10)
    small, large = found.thumbnails.split("\n")
    sizes = []
    for address, kind in ((small, "png"), (large, "jpeg")):
        assert address.startswith(f"data:image/{kind};base64,")
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
            sizes.append(image.size)
    assert sizes == [(20, 10), (256, 128)]


def test_an_image_that_cannot_be_shown_is_left_out_and_said(write: Make, row: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    Image.new("RGB", (9, 9)).save(tmp_path / "program.eps")
    names = ["bad.png", "x" * 3000, "a\0b.png", picture(tmp_path / "shown" / "a.png")]
    rows = [row(0, images=names), row(1, images=["bad.png", "program.eps"]), row(2, images=[None, {"a": 1}])]
    found = pack_samples(load_runs([write("val.jsonl", rows)]), images=9)

    assert [len(question["images"]) for question in unpacked(found)["questions"]] == [1, 0, 0]
    assert [reason.partition(" ")[0] for reason in found.left_out] == [
        str(tmp_path / name) for name in ("bad.png", "program.eps")
    ]
    assert f"Of the images, 2 could not be shown, the first of them because {tmp_path}/bad.png cannot be read" in (
        samples_note(found)
    )


def test_an_image_that_would_take_long_is_left_out_and_said(write: Make, row: Make, tmp_path: Path) -> None:
    Image.new("1", (7100, 7100)).save(tmp_path / "vast.png")
    found = pack_samples(load_runs([write("val.jsonl", [row(0, images=["vast.png"])])]), images=9)

    (reason,) = found.left_out
    assert reason.endswith("vast.png cannot be read as an image: it has 7100 x 7100 pixels, and at most 50,000,000 are decoded")


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "{}/secret.png"])
def test_an_image_outside_the_folder_of_its_file_is_not_shown(
    write: Make, row: Make, tmp_path: Path, name: str
) -> None:
    (tmp_path / "run" / "a").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    path = write("run/val.jsonl", [row(images=[name.format(tmp_path)])])
    found = pack_samples(load_runs([path]), images=9)

    assert found.thumbnails == "" and len(found.left_out) == 1
    assert found.left_out[0].endswith("secret.png lies outside the folder of the predictions")


@pytest.mark.parametrize(
    "columns",
    [
        {"vision_tokens": [["a"]]},
        {"vision_tokens": ["ab", "cd"]},
        {"vision_tokens": [["a", "</script>"]], "rewards": {"a": "b"}},
        {"rewards": ["a"], "reward": "b", "certainty": {"c": 1}},
        {"reward": 10**400, "vision_tokens": [[None, 10**400]]},
        {"response": ["a"], "answer": {"b": 1}, "well_formed": "yes", "truncated": 3, "dataset": ["d"]},
        {"question": "\ud800", "response": "\udfff", "id": 5},
    ],
)
def test_columns_of_another_kind_than_expected_end_no_report(write: Make, row: Make, columns: dict[str, Any]) -> None:
    found = pack_samples(load_runs([write("val.jsonl", [row(**columns)])]), images=0)

    assert found.kept == 1


def test_what_does_not_fit_is_thinned_evenly_and_said(write: Make, row: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = random.Random(0)
    rows = [row(number, response=noise.randbytes(200).hex()) for number in range(200)]
    runs = load_runs([write("val.jsonl", rows)])
    monkeypatch.setattr(samples, "MOST_CHARACTERS", 30_000)
    found = pack_samples(runs, images=0)
    assert len(found.packed) <= 30_000
    places = [int(question["id"][1:]) for question in unpacked(found)["questions"]]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert 50 < found.kept < 200 and max(steps) - min(steps) <= 1
    assert samples_note(found).startswith(f"{found.kept} of 200 responses, to questions evenly spread")
