"""Rows of benchmarks of seeing and knowing, as they are published."""

from __future__ import annotations

from typing import Any

from tests.data.cases.base import PICTURE, Case

SEVEN = {f"image_{number}": None for number in range(1, 8)}
TWO_FLAGS = {"category": "VD", "subcategory": "chart", "set_id": "1", "figure_id": "2", "question_id": "0"}
OPTIONS = ["apple", "two pears", "figs"]
LETTERED = "\nA. apple\nB. two pears\nC. figs"
LETTER_RIGHT = ["B", "(b)", "B. two pears", "Two pears", r"\text{B}"]
LETTER_WRONG = ["A", "C. two pears", "pears", "B or C", "", "A or B", "the second"]


def mmmu(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "validation_Art_1",
        "question": "<image 1> Which of them costs more than <image 2>?",
        "options": "['$6', '<image 2>', 'both']",
        "explanation": "",
        **SEVEN,
        "image_1": PICTURE,
        "image_2": PICTURE,
        "img_type": "['Tables']",
        "answer": "A",
        "topic_difficulty": "Medium",
        "question_type": "multiple-choice",
        "subfield": "Managerial",
    }
    return row | changes


SEEING: dict[str, Case] = {
    "clevr": Case(
        [{"images": [PICTURE], "problem": "<image>How many cubes are there?", "answer": "3"}],
        "How many cubes are there?",
        "3",
        ["3", "three", "3 cubes", "3.0"],
        ["2", "3 or 4", "30", "3.5", "many"],
    ),
    "clevr-cogen": Case(
        [
            {"image": PICTURE, "problem": f"How many? {row}", "solution": f"<answer> {row} </answer>"}
            for row in range(99)
        ],
        "",
        "",
        [],
        [],
    ),
    "a-okvqa": Case(
        [
            {
                "image": PICTURE,
                "question_id": "q1",
                "question": "What is it?",
                "choices": OPTIONS,
                "correct_choice_idx": 1,
                "direct_answers": "['pear', 'pears']",
                "difficult_direct_answer": False,
                "rationales": ["It is."],
            }
        ],
        f"What is it?{LETTERED}",
        "B",
        LETTER_RIGHT,
        LETTER_WRONG,
        "q1",
    ),
    "mmmu-pro": Case(
        [mmmu(id="test_Art_1", options=str([str(number) for number in range(10)]), answer="J")],
        "(image 1) Which of them costs more than (image 2)?\n"
        + "\n".join(f"{letter}. {number}" for number, letter in enumerate("ABCDEFGHIJ")),
        "J",
        ["J", "J. 9"],
        ["A", "I", "K", ""],
        "test_Art_1",
        2,
    ),
    "mmmu-pro-vision": Case(
        [{"id": "test_Art_1", "image": PICTURE, "options": str(OPTIONS), "answer": "B", "subject": "Art"}],
        "Answer the question that is shown in the image. Give the letter of the right option.",
        "B",
        LETTER_RIGHT,
        LETTER_WRONG,
        "test_Art_1",
    ),
    "mmmu": Case(
        [mmmu()],
        "(image 1) Which of them costs more than (image 2)?\nA. $6\nB. (image 2)\nC. both",
        "A",
        ["A", "$6", "A. $6"],
        ["B", "both", "D", "$60"],
        "validation_Art_1",
        2,
    ),
    "mmstar": Case(
        [
            {
                "index": 0,
                "question": "Which?\nOptions: A: one, B: two",
                "image": PICTURE,
                "answer": "B",
                "category": "math",
                "l2_category": "geometry",
            }
        ],
        "Which?\nOptions: A: one, B: two",
        "B",
        ["B", "B: two"],
        ["two", "A", "A: two"],
    ),
    "hallusionbench": Case(
        [
            {
                **TWO_FLAGS,
                "question": "Is it red?",
                "gt_answer": "0",
                "gt_answer_details": "It is blue.",
                "image": PICTURE,
            }
        ],
        "Is it red?",
        "no",
        ["No", "no.", "No, it is blue."],
        ["Yes", "yes and no", "not sure", "nothing", "It is blue, so no"],
        "VD/chart/1/2",
    ),
    "pope": Case(
        [
            {
                "question_id": "1",
                "question": "Is there a dog in the image?",
                "answer": "yes",
                "image_source": "COCO_1",
                "image": PICTURE,
                "category": "popular",
            }
        ],
        "Is there a dog in the image?",
        "yes",
        ["Yes", "yes, there is", "**Yes**"],
        ["No", "", "I see a yes sign"],
        "COCO_1",
    ),
    "scienceqa": Case(
        [
            {
                "image": PICTURE,
                "question": "What is it?",
                "choices": OPTIONS,
                "answer": 1,
                "hint": "Look twice.",
                "task": "closed choice",
                "grade": "grade2",
                "subject": "natural science",
                "topic": "x",
            }
        ],
        f"Context: Look twice.\nWhat is it?{LETTERED}",
        "B",
        LETTER_RIGHT,
        LETTER_WRONG,
    ),
    "chartqa": Case(
        [{"type": "human_test", "question": "How high is it?", "answer": "20", "image": PICTURE}],
        "How high is it?",
        "20",
        ["20", "21", "19", "20.0"],
        ["21.1", "20%", "about 20", "2", ""],
    ),
    "ai2d": Case(
        [{"question": "What is it?", "options": OPTIONS, "answer": "1", "image": PICTURE}],
        f"What is it?{LETTERED}",
        "B",
        LETTER_RIGHT,
        LETTER_WRONG,
    ),
}
SEEING["mmmu-pro-4"] = SEEING["mmmu-pro"]
