from __future__ import annotations

import time
from typing import Any

import pytest

from vlcal.data import AnswerRule, AsWritten, ByColumn, ByIndex, ByLetter, ByText, FirstThatReads, Verified, WithOptions
from vlcal.data.records import check_marks, options_of, with_options, without_placeholders
from vlcal.data.rules import stated
from vlcal.verifiers import ChoiceVerifier, CountVerifier, ExactVerifier, MathVerifier, YesNoVerifier

PETS = ("a dog", "two cats", "3 fish")


@pytest.mark.parametrize(
    ("cell", "answer"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"$\boxed{5}$", "5"),
        (r"\boxed {5}", "5"),
        (r"\fbox{5}", "5"),
        ("<answer>1</answer> or <answer>2</answer>", "2"),
        ("<answer> 3", "<answer> 3"),
        (r"\boxed{1} or \boxed{2}", r"\boxed{1} or \boxed{2}"),
        ("<think>\\boxed{1}</think> <answer> 3 </answer>", "3"),
        ("<answer> \\boxed{145^\\circ} </answer>", r"145^\circ"),
        (" a cat ", "a cat"),
        (7, "7"),
        (7.0, "7"),
        (0.5, "0.5"),
    ],
)
def test_the_answer_is_taken_out_of_its_wrapping(cell: Any, answer: str) -> None:
    assert stated(cell) == answer


def test_tags_that_never_close_take_no_longer_than_linear() -> None:
    start = time.process_time()
    stated("<answer>" * 200_000)
    stated(r"\boxed{" * 200_000)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    "cell", [None, "", " ", "\u200b", r"\boxed{}", ["2"], float("nan"), float("inf"), "nan", "NaN ", "<NA>"]
)
def test_a_cell_without_an_answer_is_refused(cell: Any) -> None:
    with pytest.raises(ValueError, match="the answer must"):
        AsWritten()(cell, (), {})


@pytest.mark.parametrize(
    ("rule", "cell", "target"),
    [
        (ByLetter(), "(b)", "B"),
        (ByLetter(), "B. two cats", "B"),
        (ByIndex(), 1, "B"),
        (ByIndex(), "1", "B"),
        (ByText(), "two cats", "B"),
        (WithOptions(ByText(), AsWritten()), "3 fish", "C"),
    ],
)
def test_every_way_to_keep_an_option_becomes_its_letter(rule: AnswerRule, cell: Any, target: str) -> None:
    found = rule(cell, PETS, {})

    assert found.target == target
    assert found.verifier is not None
    assert found.verifier(f"({target})", target) == found.verifier(PETS["ABC".index(target)], target) == 1
    assert found.verifier("a dog", target) == 0


@pytest.mark.parametrize(
    ("rule", "cell"),
    [
        (ByLetter(), "D"),
        (ByLetter(), "two cats"),
        (ByIndex(), 3),
        (ByIndex(), -1),
        (ByIndex(), "1.5"),
        (ByIndex(), "B"),
        (ByText(), "a cat"),
        (Verified(CountVerifier()), "many"),
        (Verified(YesNoVerifier()), "maybe"),
        (ByColumn("kind", {"text": AsWritten()}), "two cats"),
    ],
)
def test_an_answer_that_the_rule_cannot_read_is_refused(rule: AnswerRule, cell: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        rule(cell, PETS, {})


def test_options_within_the_question_are_judged_by_letter_alone() -> None:
    target, verifier = ByLetter()("B", (), {})

    assert isinstance(verifier, ChoiceVerifier)
    assert verifier("(B) two cats", target) == 1 and verifier("two cats", target) == 0


def test_a_column_decides_which_rule_reads_the_row() -> None:
    rule = ByColumn("kind", {"count": Verified(CountVerifier()), "word": Verified(ExactVerifier())})

    assert isinstance(rule("7", (), {"kind": "count"}).verifier, CountVerifier)
    assert isinstance(rule("seven", (), {"kind": "word"}).verifier, ExactVerifier)


def test_the_first_rule_that_can_read_the_answer_does() -> None:
    rule = FirstThatReads([ByLetter(), Verified(MathVerifier())])

    assert isinstance(rule("C", (), {}).verifier, ChoiceVerifier)
    assert isinstance(rule(r"\sqrt{2}", (), {}).verifier, MathVerifier)


@pytest.mark.parametrize("cell", ["['$6', '$7']", ["$6", "$7"], ("$6", "$7")])
def test_options_may_be_a_list_or_a_text_that_is_one(cell: Any) -> None:
    assert options_of(cell) == ("$6", "$7")


@pytest.mark.parametrize("cell", ["A. one; B. two", "{'A': 1}", 7, ["x"] * 27, "__import__('os')"])
def test_options_that_are_no_list_of_texts_are_refused(cell: Any) -> None:
    with pytest.raises(ValueError, match="options must be"):
        options_of(cell)


def test_options_are_listed_with_their_letters() -> None:
    assert with_options("Which?", PETS) == "Which?\nA. a dog\nB. two cats\nC. 3 fish"


def test_options_that_stand_in_the_image_are_letters_only() -> None:
    assert with_options("Which?", ("A", "B", "C")) == "Which?\nOptions: A, B, C"


@pytest.mark.parametrize(
    ("asked", "images", "elsewhere"),
    [
        ("Find x.", 3, ""),
        ("Find x.", 0, ""),
        ("<image><image>Compare.", 2, ""),
        ("<image1>", 1, ""),
        ("Is <image 1> like <image 2>, or <image 1> like ['<image 3>']?", 3, ""),
        ("<image 1>?", 2, "See <image 2>."),
        ("<image><image>Is <image 2> red?", 2, ""),
    ],
)
def test_a_text_may_ask_for_every_image_or_for_none(asked: str, images: int, elsewhere: str) -> None:
    check_marks(asked, elsewhere, images)


@pytest.mark.parametrize(
    ("asked", "images", "complaint"),
    [
        ("<image>Find x.", 0, "has 1 `<image>` mark, but the row has 0 images"),
        ("<image><image>Compare.", 1, "has 2 `<image>` marks, but the row has 1 image"),
        ("<image>Compare.", 2, "has 1 `<image>` mark, but the row has 2 images"),
        ("<image 1>?", 0, "asks for <image 1>, but the row has 0 images"),
        ("<image 1> or <image 3>?", 2, "asks for <image 3>, but the row has 2 images"),
        ("<image0> or <image1>?", 2, "asks for <image 0>, but the row has 2 images"),
        ("Is <image 2> red?", 2, "no mark of the question asks for <image 1>, but the row has 2 images"),
        ("<image><image>Is <image 3> red?", 2, "asks for <image 3>, but"),
    ],
)
def test_a_text_that_asks_for_other_images_than_its_row_has_is_refused(asked: str, images: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_marks(asked, "", images)


@pytest.mark.parametrize(
    ("text", "images", "shown"),
    [
        ("<image>Find x.", 1, "Find x."),
        ("What is it?\n<image1>", 1, "What is it?"),
        ("<image 1> What is it?", 1, "What is it?"),
        ("Is <image 1> like <image 2>?", 2, "Is (image 1) like (image 2)?"),
        ("<image><image>Compare.", 2, "Compare."),
        ("1 < image", 1, "1 < image"),
    ],
)
def test_image_marks_do_not_reach_the_policy(text: str, images: int, shown: str) -> None:
    assert without_placeholders(text, images) == shown
