"""What is drawn, and the words and numbers in it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from vlcal.callbacks.completions import completion_markdown, completion_rows
from vlcal.callbacks.plots import (
    OVERCONFIDENT,
    UNDERCONFIDENT,
    completion_figure,
    reliability_diagrams,
    rendered,
)

Make = Callable[..., Any]
CONFIDENCE = np.array([0.9, 0.9, 0.1, 0.1])
TRUTH = np.array([1.0, 0.0, 0.0, 0.0])


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in [axes.title, *axes.texts])


def test_the_title_holds_ece_and_n() -> None:
    # (2 * |.9 - .5| + 2 * |.1 - 0|) / 4
    figure = reliability_diagrams({"overall": (CONFIDENCE, TRUTH)})
    assert "ECE 0.250" in words(figure)
    assert "n 4" in words(figure)
    assert "overall" in words(figure)


def test_an_absent_confidence_counts_as_wrong_and_unsure_and_is_announced() -> None:
    figure = reliability_diagrams({"overall": (np.array([1.0, math.nan]), np.array([1.0, 1.0]))})
    assert "ECE 0.250" in words(figure)  # (|1 - 1| + |.5 - 0|) / 2
    assert "1 absent" in words(figure)


def test_the_bars_underneath_count_the_responses() -> None:
    below = reliability_diagrams({"overall": (CONFIDENCE, TRUTH)}).axes[1]
    assert [(bar.get_center()[0], bar.get_height()) for bar in below.patches] == [
        (pytest.approx(0.15), 2),
        (pytest.approx(0.95), 2),
    ]


def test_gaps_are_coloured_by_their_side() -> None:
    stated, truth = np.array([0.9, 0.9, 0.1, 0.1]), np.array([0.0, 1.0, 1.0, 0.0])
    above = reliability_diagrams({"overall": (stated, truth)}).axes[0]
    gaps = {bar.get_edgecolor()[:3]: (bar.get_y(), bar.get_height()) for bar in above.patches if bar.get_hatch()}
    from matplotlib.colors import to_rgb

    assert gaps[to_rgb(OVERCONFIDENT)] == pytest.approx((0.5, 0.4))
    assert gaps[to_rgb(UNDERCONFIDENT)] == pytest.approx((0.1, 0.4))


def test_several_confidences_stand_side_by_side() -> None:
    panels = {"overall": (CONFIDENCE, TRUTH), "visual": (CONFIDENCE, 1 - TRUTH)}
    one, two = rendered(reliability_diagrams({"overall": (CONFIDENCE, TRUTH)})), rendered(reliability_diagrams(panels))
    assert two.dtype == np.uint8
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] > 1.8 * one.shape[1]


def test_no_figure_is_registered_with_pyplot() -> None:
    import sys

    before = "matplotlib.pyplot" in sys.modules
    rendered(reliability_diagrams({"overall": (CONFIDENCE, TRUTH)}))
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_a_panel_without_a_known_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="`panels` must leave out a confidence without a known outcome; got 'visual'"):
        reliability_diagrams({"visual": (CONFIDENCE, np.full(4, math.nan))})
    with pytest.raises(ValueError, match="`panels` must hold at least one confidence"):
        reliability_diagrams({})


def test_completions_are_drawn_whatever_they_say(build: Make) -> None:
    texts = ["costs $5 and $6, \\boxed{9}", "是 \x07" * 600, "", "<think>\n</think>"]
    images = [(torch.rand(3, 4, 8),), (), (torch.rand(3, 500, 300), torch.rand(3, 4, 4)), (torch.rand(3, 4, 4),)]
    rows = completion_rows(build(texts=texts, images=images, answers=["9", None, "9", "9"]))
    pixels = rendered(completion_figure(rows, [next(iter(each), None) for each in images]))
    assert pixels.shape[2] == 3
    assert pixels.std() > 0


def test_a_row_without_its_image_is_refused(build: Make) -> None:
    with pytest.raises(ValueError, match="`images` must hold one image or None per row.*got 0 for 4"):
        completion_figure(completion_rows(build()), [])


def test_markdown_takes_no_response_for_markup(build: Make) -> None:
    markdown = completion_markdown(completion_rows(build(texts=["<think>|a*b*\n`c`"] * 4)))
    lines = markdown.split("\n")
    assert len(lines) == 2 + 4
    assert len({line.count("|") for line in lines}) == 1
    assert "<think>" not in markdown
    assert "&#60;think&#62;&#124;a&#42;b&#42;<br>&#96;c&#96;" in markdown


def test_rows_hold_numbers_as_they_were_stated(build: Make) -> None:
    assessment = build(group_size=2, extras=[{"clearness": 0.25}, {}])
    rows = completion_rows(assessment)
    assert [row["id"] for row in rows] == ["scene-0", "scene-0", "scene-1", "scene-1"]
    assert [row["visual"] for row in rows] == [0.9, 0.2, 0.7, None]
    assert [row["clearness"] for row in rows] == [0.25, 0.25, None, None]
    assert rows[1]["rewards"] == {"accuracy": 0.0, "visual": 0.0}
    json.dumps(rows, allow_nan=False)
