from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from vlcal.data import RecordPrompts
from vlcal.data.records import read_records


def write_rows(folder: Path, *rows: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (6, 4), (51, 51, 51)).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def test_a_row_becomes_a_prompt_with_its_images_in_the_unit_range(tmp_path: Path, image: Path) -> None:
    row = {"question": "How grey?", "answer": 0.2, "images": [image.name, image.name], "level": 3}
    path = write_rows(tmp_path, row)
    (batch,) = RecordPrompts(held_out=path).val_dataloader()

    assert batch.ids == ("rows.jsonl:1",)
    assert (batch.questions, batch.targets) == (("How grey?",), ("0.2",))
    assert [tuple(found.shape) for found in batch.images[0]] == [(3, 4, 6)] * 2
    assert torch.allclose(batch.images[0][0], torch.tensor(0.2))
    assert batch.extras == ({"level": 3},)


def test_a_question_needs_no_image(tmp_path: Path) -> None:
    (batch,) = RecordPrompts(held_out=write_rows(tmp_path, {"question": "1 + 1", "answer": "2"})).val_dataloader()
    assert batch.images == ((),)


def test_the_seed_decides_the_order_of_training(tmp_path: Path) -> None:
    path = write_rows(tmp_path, *({"question": str(row), "answer": "x"} for row in range(20)))

    def order(seed: int) -> tuple[str, ...]:
        (batch,) = RecordPrompts(train=path, batch_size=20, seed=seed).train_dataloader()
        return tuple(batch.questions)

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == sorted(map(str, range(20)))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"answer": "2"}, "row 2: `question` must be a text or a number; got None"),
        ({"question": "1 + 1", "answer": ["2"]}, "row 2: `answer` must be"),
        ({"question": "?", "answer": "2", "images": "a.png"}, "row 2: `images` must be a list of paths; got 'a.png'"),
        ({"question": "?", "answer": "2", "images": ["gone.png"]}, r"row 2: image .*gone\.png is not there"),
        ([1], "row 2: a JSON object is asked for; got list"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_loaded(tmp_path: Path, row: object, complaint: str) -> None:
    path = write_rows(tmp_path, {"question": "1 + 1", "answer": "2"}, row)
    with pytest.raises(ValueError, match=r"rows\.jsonl, " + complaint):
        RecordPrompts(train=path)


def test_a_row_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl, row 1: not JSON"):
        read_records(path)


def test_an_empty_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no row"):
        RecordPrompts(train=write_rows(tmp_path))
    with pytest.raises(ValueError, match=r"gone\.jsonl is not there"):
        RecordPrompts(train=tmp_path / "gone.jsonl")


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    path = write_rows(tmp_path, {"question": "?", "answer": "2", "images": ["broken.png"]})
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        list(RecordPrompts(held_out=path).val_dataloader())


def test_a_command_without_its_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`held_out` must name a JSON Lines file"):
        RecordPrompts(train=write_rows(tmp_path, {"question": "?", "answer": "2"})).val_dataloader()
