"""Tables of one's own: CSV, what is recognised in them, and how a share is held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlcal.data import ByLetter, ByText, Columns, Csv, HeldOut, RefuseBadRows, Remaining
from vlcal.data.inspection import find_tables, guess_columns, inspect_table
from vlcal.data.tables import csv_table
from vlcal.errors import UserError


def write(folder: Path, rows: Sequence[Mapping[str, Any]], name: str = "labels.csv") -> Path:
    """A CSV file beside the images that it names."""
    for row in rows:
        if row.get("image"):
            Image.new("RGB", (20, 10)).save(folder / row["image"])
    lines = [list(rows[0]), *([str(cell) for cell in row.values()] for row in rows)]
    text = "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines)
    (folder / name).write_text(text + "\n", encoding="utf-8-sig")
    return folder / name


def asked(answers: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """A row for each answer, with an image of its own and one question for all."""
    return [{"image": f"{n}.png", "question": "What is it?", "answer": a, **more} for n, a in enumerate(answers)]


def test_a_csv_file_is_read_with_its_lines_as_places(tmp_path: Path) -> None:
    path = write(tmp_path, asked(["7", "8"]))

    found = Csv(path, Columns(images=("image",))).questions(RefuseBadRows())

    assert [found[row].target for row in range(2)] == ["7", "8"]
    assert found[1].place == f"{path}, row 3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a\n1,2\n", "name each column once; got `a` twice"),
        ("a,b\n1,2\n1,2,3\n", "row 3: more cells than the 2 names above"),
        ('a,b\n"1"x,2\n', "cannot be read as a table"),
    ],
)
def test_a_csv_file_that_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")

    with pytest.raises(UserError, match=message):
        csv_table(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("answers", "kind", "verifier"),
    [
        (["7", "1/2", "3.5"], "a number", "NumericVerifier"),
        (["yes", "No"], "yes or no", "YesNoVerifier"),
        (["a cat", "red"], "words", "ExactVerifier"),
        (["7", "a cat"], "mathematics, or numbers and words", "MathVerifier"),
        (["A", "C"], "the letter of an option that stands in the question", None),
    ],
)
def test_the_verifier_fits_how_the_answers_are_written(
    tmp_path: Path, answers: list[str], kind: str, verifier: str | None
) -> None:
    found = inspect_table(write(tmp_path, asked(answers)))

    assert found.answers.kind == kind
    assert getattr(found.answers.verifier, "__name__", None) == verifier
    assert found.columns == Columns("question", "answer", ("image",)) and found.sizes == ((20, 10),) * len(answers)


@pytest.mark.parametrize(("answers", "rule"), [(["cat", "dog"], ByText), (["B", "A"], ByLetter)])
def test_answers_with_options_are_read_by_text_or_letter(tmp_path: Path, answers: list[str], rule: type) -> None:
    found = inspect_table(write(tmp_path, asked(answers, options="['cat', 'dog']")))

    assert found.answers.rule is rule and found.columns.options == "options"
    assert found.questions.texts[0] == "What is it?\nA. cat\nB. dog"


def test_one_question_about_all_images_is_held_out_by_image_and_never_on_both_sides(tmp_path: Path) -> None:
    path = write(tmp_path, asked([str(n) for n in range(60)]))
    by = inspect_table(path).drawn_by(0.2)
    source = Csv(path, Columns(images=("image",)))

    held, kept = (
        {found[row].target for row in range(len(found))}
        for found in (kind(source, 0.2, by).questions(RefuseBadRows()) for kind in (HeldOut, Remaining))
    )

    assert by == "image"
    assert held and kept and not held & kept and len(held | kept) == 60


def test_rows_that_differ_in_nothing_cannot_be_split(tmp_path: Path) -> None:
    rows = [row | {"image": "0.png"} for row in asked(["7"] * 30)]

    with pytest.raises(UserError, match="enough different questions or images to hold a share of 0.2 out"):
        inspect_table(write(tmp_path, rows)).drawn_by(0.2)


def test_columns_are_recognised_by_usual_names_and_named_where_they_are_not(tmp_path: Path) -> None:
    table = csv_table(write(tmp_path, [{"Image": "", "Prompt": "q", "truth": "7"}]))

    with pytest.raises(UserError, match="it has Image, Prompt, truth, and none for answer.*`--answer`"):
        guess_columns(table)
    assert guess_columns(table, {"answer": "truth"}) == Columns("Prompt", "truth", ("Image",))
    assert guess_columns(table, kinds=("question", "images")).question == "Prompt"


def test_a_folder_is_searched_for_one_table_or_a_pair(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds none that ends in .csv"):
        find_tables(tmp_path)
    train = write(tmp_path, asked(["7"]), "train.csv")
    assert find_tables(tmp_path) == (train, None)
    validation = write(tmp_path, asked(["7"]), "val.csv")
    assert find_tables(tmp_path) == (train, validation)
    write(tmp_path, asked(["7"]), "more.csv")
    with pytest.raises(UserError, match="one named validation; .* has more.csv, train.csv, val.csv"):
        find_tables(tmp_path)
