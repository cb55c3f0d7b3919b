"""Question files as benchmarks publish them beside their images, in their schema and with content of our own."""

from __future__ import annotations

from typing import Any, NamedTuple


class Published(NamedTuple):
    """A file's content, the image that each row names, and per row an answer that is right and one that is not."""

    content: Any
    images: list[str]
    right: list[str]
    wrong: list[str]
    question_id: str
    left_out: int = 0


FIGURE = {"category": "VD", "subcategory": "chart", "set_id": "0", "sample_note": "x", "gt_answer_details": "It is."}
POPE = [{"question_id": number, "image": "COCO_1.jpg", "text": "Is there a dog?", "label": "no"} for number in (1, 2)]

FILES: dict[str, Published] = {
    "mathvista": Published(
        {
            "1": {
                "question": "How far?",
                "image": "images/1.jpg",
                "choices": None,
                "unit": None,
                "precision": 1,
                "answer": "1.2",
                "question_type": "free_form",
                "answer_type": "float",
                "pid": "1",
                "metadata": {},
            },
            "2": {
                "question": "Which?",
                "image": "images/2.jpg",
                "choices": ["145°", "35°"],
                "unit": None,
                "precision": None,
                "answer": "35°",
                "question_type": "multi_choice",
                "answer_type": "text",
                "pid": "2",
                "metadata": {"split": "testmini"},
            },
        },
        ["images/1.jpg", "images/2.jpg"],
        ["1.2", "B"],
        ["1.3", "A"],
        "1",
    ),
    "mathvision": Published(
        [
            {
                "id": "1",
                "question": "Find x.\n<image1>",
                "options": [],
                "answer": "60",
                "solution": None,
                "level": 2,
                "subject": "arithmetic",
                "image": "images/1.jpg",
            },
            {
                "id": "2",
                "question": "Which?\n<image1>",
                "options": ["A", "B", "C"],
                "answer": "C",
                "solution": None,
                "level": 1,
                "subject": "counting",
                "image": "images/2.jpg",
            },
        ],
        ["images/1.jpg", "images/2.jpg"],
        ["60", "C"],
        ["61", "A"],
        "1",
    ),
    "mathverse": Published(
        [
            {
                "sample_index": "1",
                "problem_index": "1",
                "problem_version": "Vision Only",
                "question": "",
                "image": "images_version_5/image_1.png",
                "answer": "D",
                "question_type": "multi-choice",
                "metadata": {},
                "query_wo": "",
                "query_cot": "",
                "question_for_eval": "Find x.",
            },
        ],
        ["images_version_5/image_1.png"],
        ["D"],
        ["A"],
        "1",
    ),
    "mathverse-text-only": Published(
        [
            {
                "sample_index": "1",
                "problem_index": "1",
                "problem_version": "Text Only",
                "question": "True or false?",
                "image": "",
                "answer": "False",
                "question_type": "multi-choice",
                "metadata": {},
            },
            {
                "sample_index": "2",
                "problem_index": "2",
                "problem_version": "Text Only",
                "question": "Which two?",
                "image": "",
                "answer": "B\nD",
                "question_type": "multi-choice",
                "metadata": {},
            },
        ],
        ["", ""],
        ["False", "B, D"],
        ["True", "B"],
        "1",
    ),
    "we-math": Published(
        [
            {
                "ID": "2steps_1",
                "split": "testmini",
                "knowledge concept": "Lengths",
                "question": "OA = ( ) m",
                "option": "A. 3; B. 4; C. No correct answer",
                "answer": "C",
                "image_path": "2steps/image/1-1.png",
                "key": "2steps_1",
                "question number": 1,
                "knowledge concept description": "x",
            },
        ],
        ["2steps/image/1-1.png"],
        ["C"],
        ["A"],
        "2steps_1",
    ),
    "logicvista": Published(
        {
            "v1_0": {"imagename": "v1_0.png", "question": "Select from A to D", "answer": "C", "skill": ["inductive"]},
            "v1_20": {"imagename": "v1_20.png", "question": "Select from 1-5", "answer": "3", "skill": ["inductive"]},
            "v1_382": {"imagename": "v1_382.png", "question": "", "answer": "", "skill": ["inductive"]},
        },
        ["v1_0.png", "v1_20.png", "v1_382.png"],
        ["C", "3"],
        ["B", "2"],
        "logicvista:1",
        left_out=1,
    ),
    "hallusionbench": Published(
        [
            FIGURE
            | {
                "visual_input": "0",
                "figure_id": "0",
                "question_id": "0",
                "question": "Is it red?",
                "gt_answer": "0",
                "filename": None,
            },
            FIGURE
            | {
                "visual_input": "1",
                "figure_id": "1",
                "question_id": "0",
                "question": "Is it red?",
                "gt_answer": "1",
                "filename": "./VD/chart/0_1.png",
            },
        ],
        ["", "VD/chart/0_1.png"],
        ["Yes, it is."],
        ["No"],
        "VD/chart/0/1",
    ),
    "pope": Published(POPE, ["COCO_1.jpg"] * 2, ["No"] * 2, ["Yes"] * 2, "COCO_1.jpg"),
    "dynamath": Published(
        {
            "1": {
                "question": "Period?",
                "answer": "2.0944",
                "image": "image/image1.png",
                "answer_type": "float",
                "subject": "analytic geometry",
                "level": "high school",
            },
            "2": {
                "question": "How many?",
                "answer": "49",
                "image": "image/image2.png",
                "answer_type": "single answer",
                "subject": "statistics",
                "level": "high school",
            },
        },
        ["image/image1.png", "image/image2.png"],
        ["2.0944", "49"],
        ["2.1944", "48"],
        "1",
    ),
    "chartqa": Published(
        [{"imgname": "4.png", "query": "How high?", "label": "20"}], ["4.png"], ["20"], ["30"], "chartqa:1"
    ),
}
LINES = {"mathvision": ".jsonl", "pope": ".json"}
"""One object a line, whatever the name ends in; the other files are one document."""
