"""From files to batches of prompts."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import jsonargparse
import lightning
import pytest
import torch
import yaml
from lightning.pytorch.demos.boring_classes import BoringModel
from PIL import Image

from vlcal.data import ByIndex, ByLetter, Columns, ImageSize, JsonLines, SkipBadRows, Source, VisionQuestions
from vlcal.data.resumable import SeededOrder
from vlcal.errors import UserError
from vlcal.types import PromptBatch

TEXT = Columns(images=())


def write_rows(folder: Path, *rows: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def nested(depth: int) -> list[object]:
    """Nothing, in that many lists."""
    inner: list[object] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def batch_of(source: Source, **settings: object) -> PromptBatch:
    """The only validation batch."""
    (batch,) = VisionQuestions(validation=source, **settings).val_dataloader()  # type: ignore[arg-type]
    return batch


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (6, 4), (51, 51, 51)).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def test_a_row_becomes_a_prompt_with_its_images_in_the_unit_range(tmp_path: Path, image: Path) -> None:
    row = {"question": "How grey?", "answer": 0.2, "images": [image.name, image.name], "level": 3}
    batch = batch_of(JsonLines(write_rows(tmp_path, row)))

    assert batch.ids == ("rows.jsonl:1",)
    assert (batch.questions, batch.targets) == (("How grey?",), ("0.2",))
    assert [tuple(found.shape) for found in batch.images[0]] == [(3, 4, 6)] * 2
    assert torch.allclose(batch.images[0][0], torch.tensor(0.2))
    assert batch.extras == ({"level": 3, "dataset": "rows.jsonl", "question_id": "rows.jsonl:1"},)


def test_a_question_needs_no_image_where_the_columns_say_so(tmp_path: Path) -> None:
    assert batch_of(JsonLines(write_rows(tmp_path, {"question": "1 + 1", "answer": "2"}), TEXT)).images == ((),)


def test_columns_have_the_names_that_the_config_gives_them(tmp_path: Path, image: Path) -> None:
    row = {"q": "Which?", "right": 1, "pic": image.name, "more": None, "choices": ["a dog", "two cats"], "of": "q7"}
    columns = Columns("q", "right", ("pic", "more"), "choices", ("of",))
    batch = batch_of(JsonLines(write_rows(tmp_path, row), columns, ByIndex()))

    assert batch.questions == ("Which?\nA. a dog\nB. two cats",)
    assert batch.targets == ("B",) and len(batch.images[0]) == 1
    assert batch.extras[0]["question_id"] == "q7"
    (verifier,) = batch.verifiers
    assert verifier is not None
    assert [verifier(answer, "B") for answer in ("b", "two cats", "a dog")] == [1, 1, 0]


@pytest.mark.parametrize(("one", "other"), [(("x/y", "z"), ("x", "y/z")), (("x\\", "y"), ("x", "\\/y"))])
def test_ids_of_several_columns_are_equal_where_all_of_them_are(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str]
) -> None:
    rows = [{"question": "?", "answer": "1", "set": parts[0], "row": parts[1]} for parts in (one, other, one)]
    columns = Columns(images=(), question_id=("set", "row"))
    batch = batch_of(JsonLines(write_rows(tmp_path, *rows), columns))

    first, second, again = (extra["question_id"] for extra in batch.extras)
    assert first == again != second


def test_a_column_that_no_row_has_is_refused_before_it_passes_for_a_table_without_images(tmp_path: Path) -> None:
    path = write_rows(tmp_path, {"question": "?", "answer": "2", "image": "a.png"})
    with pytest.raises(ValueError, match="has answer, image, question, but no images. .* `images: \\[\\]`"):
        batch_of(JsonLines(path))


def test_a_file_cannot_bring_a_verifier_or_another_name(tmp_path: Path) -> None:
    row = {"question": "?", "answer": "2", "verifier": "x", "dataset": "y", "question_id": "z"}
    batch = batch_of(JsonLines(write_rows(tmp_path, row), TEXT))

    assert batch.extras == ({"verifier": "x", "dataset": "rows.jsonl", "question_id": "rows.jsonl:1"},)
    assert batch.verifiers == (None,)


def test_an_id_names_the_same_question_as_a_number_or_as_a_text(tmp_path: Path) -> None:
    rows = [{"question": "1 + 1", "answer": "2", "id": name} for name in (7, "7", 7.0, " 7\n", 7.5)]
    batch = batch_of(JsonLines(write_rows(tmp_path, *rows), Columns(images=(), question_id=("id",))))

    assert [extra["question_id"] for extra in batch.extras] == ["7", "7", "7", "7", "7.5"]


def test_rows_without_an_image_are_counted_in_the_log(
    tmp_path: Path, image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"question": "?", "answer": "x", name: [image.name]} for name in ("images", "image", "images")]
    with caplog.at_level(logging.WARNING):
        batch = batch_of(JsonLines(write_rows(tmp_path, *rows)))

    assert [len(images) for images in batch.images] == [1, 0, 1]
    assert "rows.jsonl: 1 of 3 rows have no image." in caplog.text


def test_images_may_lie_in_a_folder_that_the_source_names(tmp_path: Path, image: Path) -> None:
    (tmp_path / "tables").mkdir()
    path = write_rows(tmp_path / "tables", {"question": "?", "answer": "2", "images": [image.name, str(image)]})

    with pytest.raises(UserError, match=r"row 1: image .*grey\.png is not there"):
        batch_of(JsonLines(path))
    (shown,) = batch_of(JsonLines(path, image_folder=tmp_path)).images
    assert [tuple(found.shape) for found in shown] == [(3, 4, 6)] * 2


def test_marks_in_options_ask_for_images_too(tmp_path: Path, image: Path) -> None:
    columns = Columns(options="options")
    row = {"question": "<image 1> or?", "options": ["<image 2>", "none"], "answer": "A", "images": [image.name] * 2}
    assert batch_of(JsonLines(write_rows(tmp_path, row), columns, ByLetter())).questions == (
        "(image 1) or?\nA. (image 2)\nB. none",
    )
    row["images"] = [image.name]
    with pytest.raises(ValueError, match="row 1: the question asks for <image 2>, but the row has 1 image"):
        batch_of(JsonLines(write_rows(tmp_path, row), columns, ByLetter()))


def test_images_are_scaled_to_the_bounds(tmp_path: Path, image: Path) -> None:
    path = write_rows(tmp_path, {"question": "?", "answer": "2", "images": [image.name]})

    assert batch_of(JsonLines(path), image_size=ImageSize(max_pixels=6)).images[0][0].shape == (3, 2, 3)


def test_seed_and_epoch_decide_the_order_of_training() -> None:
    def order(seed: int, epoch: int = 0) -> list[int]:
        sampler = SeededOrder(20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1) == order(1) != order(2)
    assert order(1, 3) == order(1, 3) != order(1)
    assert sorted(order(1)) == list(range(20))


# No validation source is a choice; Lightning makes sure that it was one.
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_a_resumed_run_meets_the_rows_of_its_epoch(tmp_path: Path) -> None:
    """Lightning tells the sampler which epoch it is."""
    path = write_rows(tmp_path, *({"question": str(row), "answer": "x"} for row in range(12)))

    class Watch(BoringModel):
        def training_step(self, batch: PromptBatch, batch_idx: int) -> torch.Tensor:
            met.append(batch.questions)
            return self.layer(torch.ones(1, 32)).sum()

    def epochs(checkpoint: str | None, count: int) -> list[tuple[str, ...]]:
        met.clear()
        data = VisionQuestions(JsonLines(path, TEXT), batch_size=12)
        trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=count, logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        trainer.fit(Watch(), datamodule=data, ckpt_path=checkpoint)
        trainer.save_checkpoint(tmp_path / f"{count}.ckpt")
        return list(met)

    met: list[tuple[str, ...]] = []
    whole = epochs(None, 3)
    first = epochs(None, 2)

    assert len(set(whole)) == 3
    assert first + epochs(str(tmp_path / "2.ckpt"), 3) == whole


def test_training_goes_without_validation_and_validation_does_not(tmp_path: Path) -> None:
    data = VisionQuestions(JsonLines(write_rows(tmp_path, {"question": "?", "answer": "2"}), TEXT))
    with pytest.raises(ValueError, match="`validation` must be a source of questions for this command; got none"):
        data.val_dataloader()


def test_only_what_the_command_needs_is_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir(), bad.mkdir()
    rows = JsonLines(write_rows(good, {"question": "?", "answer": "2"}), TEXT)
    data = VisionQuestions(train=JsonLines(write_rows(bad, {"question": "?"}), TEXT), validation=rows)

    data.setup("validate")
    with pytest.raises(ValueError, match="`answer`|the answer must be|no answer"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"answer": "2", "images": []}, "row 3: `question` must be a text or a number; got None"),
        ({"question": " ", "answer": "2"}, "row 3: `question` must not be empty"),
        ({"question": "1 + 1", "answer": ["2"]}, "row 3: the answer must be a text or a number; got"),
        ({"question": "?", "answer": "2", "images": "a.png"}, r"row 3: image .*a\.png is not there"),
        ({"question": "?", "answer": "2", "images": ["gone.png"]}, r"row 3: image .*gone\.png is not there"),
        ({"question": "?", "answer": "2", "images": [7]}, "row 3: an image must be a path"),
        ({"question": "<image>?", "answer": "2"}, "row 3: the question has 1 `<image>` mark, but the row has 0 images"),
        ({"question": "?", "answer": "2", "images": ["line.png"]}, "row 3: the sides .* 200, .* got 2800 x 12 pixels"),
        ([1], "row 3: a JSON object is asked for; got list"),
        ({"question": "?", "answer": "2", "images": 5}, "row 3: an image must be a path, .* got 5"),
        ({"question": "?", "answer": "2", "images": {"url": "a.png"}}, "row 3: an image must be .* got one with url"),
        ({"question": "?", "answer": "2", "images": "../secret.png"}, "row 3: image .*secret.png must lie in"),
        (
            {"question": "a\ud83d?", "answer": "2", "images": []},
            r"row 3: `question` .* character 2 is half .*\\ud83d",
        ),
        ({"question": "?", "answer": "\ude00", "images": []}, "row 3: `answer` must be text of whole characters"),
        (
            {"question": "?", "answer": "2", "images": nested(600)},
            "row 3: lists or objects must not be nested",
        ),
    ],
)
def test_a_bad_row_is_named_before_anything_is_loaded(tmp_path: Path, image: Path, row: object, complaint: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for place in (tmp_path / "secret.png", folder / image.name):
        place.write_bytes(image.read_bytes())
    path = write_rows(folder, {"question": "1 + 1", "answer": "2", "images": [image.name]})
    Image.new("RGB", (2800, 12)).save(folder / "line.png")
    path.write_text(path.read_text() + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=rf"rows\.jsonl, {complaint}.* 1 of 2 rows of .*rows\.jsonl cannot be used"):
        VisionQuestions(train=JsonLines(path)).setup("fit")


@pytest.mark.parametrize(("line", "reason"), [(b"{\n", "not JSON"), (b'{"question": "\xff"}\n', "not JSON: .*utf-8")])
def test_a_row_that_is_no_json_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line)
    with pytest.raises(ValueError, match=rf"rows\.jsonl, row 1: {reason}"):
        batch_of(JsonLines(path))


def test_an_error_names_the_first_few_bad_rows_and_counts_the_others(tmp_path: Path) -> None:
    path = write_rows(tmp_path, *[{"question": "?"}] * 5, {"question": "?", "answer": "2"})
    with pytest.raises(ValueError, match="and 2 more. 5 of 6 rows") as caught:
        batch_of(JsonLines(path, TEXT))

    said = str(caught.value)
    assert all(f"row {row}:" in said for row in (1, 2, 3)) and "row 4:" not in said
    assert "\n" not in said


def test_bad_rows_are_left_out_and_named_in_the_log_when_the_config_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_rows(tmp_path, {"question": "1", "answer": "x"}, {"question": "2"}, {"question": "3", "answer": "x"})
    with caplog.at_level(logging.WARNING):
        batch = batch_of(JsonLines(path, TEXT), bad_rows=SkipBadRows(limit=0.5))

    assert batch.questions == ("1", "3")
    assert batch.ids == ("rows.jsonl:1", "rows.jsonl:3")
    assert "rows.jsonl, row 2: the answer must be" in caplog.text
    assert "1 of 3 rows are left out" in caplog.text


@pytest.mark.parametrize("limit", [0.3, 1.0])
def test_too_many_bad_rows_are_no_accident(tmp_path: Path, limit: float) -> None:
    path = write_rows(tmp_path, *[{"question": "?", "answer": None}] * 3)
    with pytest.raises(ValueError, match="3 of 3 rows .* more than the `limit`"):
        batch_of(JsonLines(path, TEXT), bad_rows=SkipBadRows(limit))


@pytest.mark.parametrize(("limit", "left"), [(0.01, 1), (0.0, None)])
def test_one_bad_row_is_always_left_out_unless_none_may_be(tmp_path: Path, limit: float, left: int | None) -> None:
    source = JsonLines(write_rows(tmp_path, {"question": "1", "answer": "x"}, {"question": "2"}), TEXT)
    if left is None:
        with pytest.raises(ValueError, match="1 of 2 rows .* more than the `limit` of 0"):
            batch_of(source, bad_rows=SkipBadRows(limit))
    else:
        assert len(batch_of(source, bad_rows=SkipBadRows(limit)).questions) == left


@pytest.mark.parametrize("limit", [-0.1, 1.1])
def test_a_limit_that_is_no_share_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="`limit` must be a share"):
        SkipBadRows(limit)


def test_an_empty_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no row"):
        batch_of(JsonLines(write_rows(tmp_path)))
    with pytest.raises(ValueError, match=r"gone\.jsonl is not there"):
        JsonLines(tmp_path / "gone.jsonl")


def test_a_line_separator_within_a_text_ends_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "one\u2028two", "answer": "2"}\r\n', encoding="utf-8")

    assert batch_of(JsonLines(path, TEXT)).questions == ("one\u2028two",)


def test_an_image_that_is_cut_short_is_named_when_its_batch_is_made(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    path = write_rows(tmp_path, {"question": "?", "answer": "2", "images": ["cut.png"]})
    with pytest.raises(ValueError, match=r"rows\.jsonl, row 1: image .*cut\.png.* cannot be read as an image"):
        batch_of(JsonLines(path))


def test_workers_read_what_the_main_process_reads(tmp_path: Path, image: Path) -> None:
    row = {"question": "?", "answer": "B", "images": [image.name], "options": ["one", "two"]}
    source = JsonLines(write_rows(tmp_path, row), Columns(options="options"), ByLetter())
    here, there = batch_of(source), batch_of(source, workers=1)

    assert torch.equal(here.images[0][0], there.images[0][0])
    (verifier,) = there.verifiers
    assert verifier is not None and verifier("two", "B") == 1
    assert pickle.loads(pickle.dumps(here)).questions == there.questions


def test_sizes_that_no_loader_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="`batch_size` must be at least 1; got 0"):
        VisionQuestions(batch_size=0)
    with pytest.raises(ValueError, match="`workers` must be 0 or more processes; got -1"):
        VisionQuestions(workers=-1)


def test_a_config_names_columns_rule_and_what_happens_to_bad_rows(tmp_path: Path) -> None:
    path = write_rows(tmp_path, {"q": "Which?", "answer": "B", "choices": "['one', 'two']"}, {"q": "?"})
    config = f"""
    data:
      class_path: vlcal.data.VisionQuestions
      init_args:
        validation:
          class_path: vlcal.data.JsonLines
          init_args:
            path: {path}
            columns: {{question: q, images: [], options: choices}}
            rule: {{class_path: vlcal.data.ByLetter}}
        image_size: {{class_path: vlcal.data.ImageSize, init_args: {{max_pixels: 1000000}}}}
        bad_rows: {{class_path: vlcal.data.SkipBadRows, init_args: {{limit: 0.5}}}}
    """
    parser = jsonargparse.ArgumentParser()
    parser.add_subclass_arguments(lightning.LightningDataModule, "data")
    data = parser.instantiate(parser.parse_object(yaml.safe_load(config))).data
    (batch,) = data.val_dataloader()

    assert batch.questions == ("Which?\nA. one\nB. two",)
