"""Parquet, the hub's layout, and shares of a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import lightning
import pytest
import torch

from vlcal.data import (
    Benchmark,
    BenchmarkSuite,
    Columns,
    HeldOut,
    Hub,
    JsonLines,
    Parquet,
    RefuseBadRows,
    Remaining,
    Source,
    VisionQuestions,
)
from vlcal.data.questions import Questions
from vlcal.data.records import prompts_of
from vlcal.data.tables import JoinedTable, JsonTable, parquet_table

PROBLEM = Columns("problem", "answer")
CONFIGS = Path(__file__).parents[2] / "configs" / "data"


def read(source: Source) -> Questions:
    return source.questions(RefuseBadRows())


@pytest.fixture
def rows(picture: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """The method's own training set in small: a list of images, a problem, an answer."""
    return [
        {"images": [picture(51), picture(102)], "problem": "<image><image>Compare.", "answer": r"\boxed{5}"},
        {"images": [picture(255)], "problem": "<image>Find x.", "answer": "3"},
    ]


def test_a_parquet_file_gives_prompts_with_images_of_nested_structs(
    tmp_path: Path, rows: Sequence[dict[str, Any]], write_parquet: Callable[..., Path]
) -> None:
    path = write_parquet(tmp_path / "train.parquet", rows)
    (batch,) = VisionQuestions(validation=Parquet(path, PROBLEM)).val_dataloader()

    assert batch.questions == ("Compare.", "Find x.")
    assert batch.targets == ("5", "3")
    assert [[round(float(image.mean()), 3) for image in images] for images in batch.images] == [[0.2, 0.4], [1.0]]
    assert batch.ids == ("train.parquet:1", "train.parquet:2")


def test_nothing_is_decoded_before_its_batch_is_made(
    tmp_path: Path, rows: Sequence[dict[str, Any]], write_parquet: Callable[..., Path]
) -> None:
    found = read(Parquet(write_parquet(tmp_path / "train.parquet", rows), PROBLEM))

    assert all(isinstance(image["bytes"], bytes) for image in found[0].images)
    assert prompts_of([found[0]]).images[0][0].dtype == torch.float32


def test_a_row_of_many_files_is_named_by_its_own_file(
    tmp_path: Path, rows: list[dict[str, Any]], write_parquet: Callable[..., Path]
) -> None:
    write_parquet(tmp_path / "0.parquet", rows)
    write_parquet(tmp_path / "below" / "1.parquet", [rows[0], {**rows[1], "answer": None}])

    assert len(parquet_table(tmp_path)) == 4
    with pytest.raises(ValueError, match=r"below/1\.parquet, row 2: the answer must be a text or a number; got None"):
        read(Parquet(tmp_path, PROBLEM))


def test_tables_are_joined_in_order(tmp_path: Path) -> None:
    for name, count in (("a", 2), ("b", 1)):
        lines = "".join(f'{{"row": "{name}{index}"}}\n' for index in range(count))
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    joined = JoinedTable("both", [JsonTable(tmp_path / "a.jsonl"), JsonTable(tmp_path / "b.jsonl")])

    assert [joined[index]["row"] for index in range(len(joined))] == ["a0", "a1", "b0"]
    assert joined.place(2).endswith("b.jsonl, row 1")


def test_a_folder_in_the_layout_of_the_hub_is_loaded_by_split_and_configuration(
    tmp_path: Path, rows: Sequence[dict[str, Any]], write_hub: Callable[..., Path]
) -> None:
    folder = str(write_hub(tmp_path / "set", rows, "train+test", "mini"))

    assert read(Hub(folder, "test", "mini", columns=PROBLEM)).texts == ["Compare.", "Find x."]
    assert len(read(Hub(folder, "train+test", "mini", columns=PROBLEM))) == 4


def test_paths_in_a_hub_layout_are_relative_to_its_folder(
    tmp_path: Path, picture: Callable[..., dict[str, Any]], write_hub: Callable[..., Path]
) -> None:
    folder = write_hub(tmp_path / "set", [{"image": ["images/1.png"], "question": "?", "answer": "3"}], "train")
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_bytes(picture()["bytes"])
    found = read(Hub(str(folder), columns=Columns(images=("image",))))

    assert prompts_of([found[0]]).images[0][0].shape == (3, 4, 6)


@pytest.mark.parametrize(
    ("split", "config", "complaint"),
    [("gone", "mini", "`name` and `split` must be in .*: Unknown split"), ("test", "gone", "BuilderConfig 'gone' not")],
)
def test_a_split_or_a_configuration_that_is_not_there_is_named(
    tmp_path: Path,
    rows: Sequence[dict[str, Any]],
    write_hub: Callable[..., Path],
    split: str,
    config: str,
    complaint: str,
) -> None:
    folder = str(write_hub(tmp_path / "set", rows, "test", "mini"))
    with pytest.raises(ValueError, match=complaint):
        read(Hub(folder, split, config, columns=PROBLEM))


def test_what_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no end")
    (tmp_path / "empty").mkdir()

    with pytest.raises(ValueError, match="nobody/nothing cannot be had: .* give a local folder"):
        read(Hub("nobody/nothing"))
    with pytest.raises(ValueError, match=r"gone\.parquet is not there"):
        Parquet(tmp_path / "gone.parquet")
    with pytest.raises(ValueError, match="empty is not there or holds none"):
        read(Parquet(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"broken\.parquet cannot be read as parquet"):
        read(Parquet(tmp_path / "broken.parquet"))


@pytest.fixture
def many(tmp_path: Path) -> JsonLines:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(f'{{"question": "{row}", "answer": "x"}}\n' for row in range(1000)), encoding="utf-8")
    return JsonLines(path, Columns(images=()))


def test_held_out_and_remaining_share_nothing_and_lack_nothing(many: JsonLines) -> None:
    judged, learned = read(HeldOut(many, 0.2)).texts, read(Remaining(many, 0.2)).texts

    assert sorted(judged + learned, key=int) == [str(row) for row in range(1000)]
    assert 150 < len(judged) < 250


def test_a_larger_share_holds_out_what_a_smaller_one_does(many: JsonLines) -> None:
    assert set(read(HeldOut(many, 0.1)).texts) < set(read(HeldOut(many, 0.2)).texts)


def test_a_share_that_leaves_one_side_empty_is_refused(many: JsonLines) -> None:
    with pytest.raises(ValueError, match="`share` must be between 0 and 1.* got 1"):
        Remaining(many, 1.0)
    with pytest.raises(ValueError, match="`share` must hold out at least one of 1000 questions"):
        read(HeldOut(many, 1e-9))


def test_what_is_learned_from_is_never_what_the_benchmark_of_that_set_judges(
    tmp_path: Path, picture: Callable[..., dict[str, Any]], write_parquet: Callable[..., Path]
) -> None:
    rows = [{"images": [picture()], "problem": f"<image>Find {row}.", "answer": "3"} for row in range(200)]
    path = write_parquet(tmp_path / "virl39k.parquet", rows)
    learned = read(Remaining(Parquet(path, PROBLEM), share=0.025)).texts
    judged = read(Benchmark("virl39k", str(path))).texts

    assert judged and not set(learned) & set(judged)
    assert len(learned) + len(judged) == 200


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_every_data_config_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "data" / f"{split}.parquet").touch()
    monkeypatch.chdir(tmp_path)
    parser = jsonargparse.ArgumentParser(parser_mode="omegaconf+", exit_on_error=False)
    parser.add_subclass_arguments(lightning.LightningDataModule, "data")

    data = parser.instantiate(parser.parse_args(["--data", str(CONFIGS / name)])).data
    assert isinstance(data, VisionQuestions | BenchmarkSuite)
