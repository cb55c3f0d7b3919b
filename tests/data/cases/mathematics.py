"""Rows of benchmarks of mathematics and logic, as they are published."""

from __future__ import annotations

from typing import Any

from tests.data.cases.base import PICTURE, Case


def mathverse(version: str, question: str, kind: str = "multi-choice", answer: str = "C") -> dict[str, Any]:
    return {
        "sample_index": "1",
        "problem_index": "7",
        "problem_version": version,
        "question": question,
        "image": PICTURE,
        "answer": answer,
        "question_type": kind,
        "metadata": {"split": "testmini", "source": "GeoQA", "subject": "Plane Geometry", "subfield": "Angle"},
        "query_wo": "Please directly answer.",
        "query_cot": "Please first conduct reasoning.",
        "question_for_eval": "Find angle C.",
    }


def mathvista(**changes: Any) -> dict[str, Any]:
    row = {
        "pid": "1",
        "question": "How far does it go?",
        "image": "images/1.jpg",
        "decoded_image": PICTURE,
        "choices": None,
        "unit": "m",
        "precision": 1.0,
        "answer": "1.2",
        "question_type": "free_form",
        "answer_type": "float",
        "metadata": {"task": "geometry", "grade": "high school"},
        "query": "Hint: ...",
    }
    return row | changes


VERSES = [
    mathverse("Text Dominant", "As shown, find angle C.\nChoices:\nA:30°\nB:45°\nC:60°"),
    mathverse("Vision Only", ""),
    mathverse("Text Lite", "Find x.", "free-form", r"2\sqrt{3}"),
]

MATHEMATICS: dict[str, Case] = {
    "dynamath": Case(
        [
            {
                "id": "12",
                "question": "What is the area?",
                "image": "images/12.png",
                "decoded_image": PICTURE,
                "ground_truth": "6.283",
                "answer_type": "float",
                "subject": "plane geometry",
                "knowledge_level": "high school",
            }
        ],
        "What is the area?",
        "6.283",
        ["6.283", "6.2838", r"2\pi", "2π", "6.283 cm"],
        ["6.29", "2", "6", "6,283", "six", "62.83%", "2pi r", "9**9**9"],
        "12",
    ),
    "geometry3k": Case(
        [{"images": [PICTURE], "problem": "<image>Find $x$.", "answer": r"\frac{1}{2}"}],
        "Find $x$.",
        r"\frac{1}{2}",
        ["0.5", "1/2", r"x = \frac{2}{4}"],
        ["2", "0.51", "", "half of it"],
    ),
    "mathverse": Case(
        VERSES,
        "As shown, find angle C.\nChoices:\nA:30°\nB:45°\nC:60°",
        "C",
        ["C", "C:60°", "C: 60°", "(C)"],
        ["A", "60°", "B or C", "C or B"],
        "7",
    ),
    "mathverse-vision-only": Case(
        VERSES, "Answer the question that is shown in the image.", "C", ["C", "**c**"], ["A", "60"], "7"
    ),
    "mathvision": Case(
        [
            {
                "id": "4",
                "question": "Which is it?\n<image1>",
                "options": ["A", "B", "C", "D", "E"],
                "image": "images/4.jpg",
                "decoded_image": PICTURE,
                "answer": "B",
                "level": 2,
                "subject": "logic",
            },
        ],
        "Which is it?\nOptions: A, B, C, D, E",
        "B",
        ["B", "(b)"],
        ["A", "F", "2", "BE"],
        "4",
    ),
    "mathvista": Case(
        [mathvista()],
        "How far does it go? (Unit: m)\nAnswer with a number of 1 decimal place.",
        "1.2",
        ["1.2", "1.2 m", "1.21", "1.16", r"1.2\text{ m}"],
        ["1.3", "12", "1.2 or 1.3", "1.2 million", ""],
        "1",
    ),
    "mathverse-text-only": Case(
        [{**mathverse("Text Only", "Angle A is 30°. Find angle C.\nChoices:\nA:30°\nB:60°", answer="B"), "image": ""}],
        "Angle A is 30°. Find angle C.\nChoices:\nA:30°\nB:60°",
        "B",
        ["B", "B:60°"],
        ["A", "60°"],
        "7",
        0,
    ),
    "we-math": Case(
        [
            {
                "ID": "2steps_3",
                "split": "testmini",
                "knowledge concept": "Area of Circles",
                "question": "How wide is it?",
                "option": "A. 2 cm; B. 4 cm; C. 6 cm; D. No correct answer",
                "answer": "B",
                "image_path": PICTURE,
                "key": "2steps_multi",
                "question number": 1,
            }
        ],
        "How wide is it?\nA. 2 cm; B. 4 cm; C. 6 cm; D. No correct answer",
        "B",
        ["B", "B. 4 cm"],
        ["4 cm", "C", "A. 4 cm"],
        "2steps_3",
    ),
    "logicvista": Case(
        [
            {
                "question": "Which two belong? Select from A, B, C and D.",
                "answer": "A, C",
                "reasoning": "...",
                "image": PICTURE,
                "skill": ["mechanical"],
                "broad_capability": "x",
                "id": "v1_1",
            }
        ],
        "Which two belong? Select from A, B, C and D.",
        "A, C",
        ["A, C", "C and A", "AC", "(A), (C)", "a, c"],
        ["A", "A, B", "A, B, C", "C.", "a cow", ""],
    ),
    "mmk12": Case(
        [
            {
                "id": "1",
                "question": "<image>Which?\nA. 1\nB. 2",
                "image": PICTURE,
                "answer": "B",
                "subject": "physics",
            }
        ],
        "Which?\nA. 1\nB. 2",
        "B",
        ["B", "B. 2"],
        ["2", "A"],
    ),
    "virl39k": Case(
        [{"images": [PICTURE], "problem": f"<image>Find {row}.", "answer": f"\\boxed{{{row}}}"} for row in range(99)],
        "",
        "",
        [],
        [],
    ),
}
