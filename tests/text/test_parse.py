from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcal.text import SPAN_NAMES, Grammar, ParsedResponse, parse
from vlcal.text.parse import unclosed, visible

GRAMMAR = Grammar()
WHOLE = GRAMMAR.render("a 7 and a 2", "7 + 2 = 9", "9", "both clear", 7, 10)

free_text = st.text().filter(lambda text: not any(tag in text for tag in (*GRAMMAR.tags, "{", "\\")))
shreds = st.lists(st.sampled_from([*GRAMMAR.tags, "7", "10", "11", " ", "\n", "{", "\\", "\\{", "é", "9"])).map("".join)


def read(text: str) -> ParsedResponse:
    return parse(text, GRAMMAR)


def test_a_rendered_response_is_read_back() -> None:
    said = read(WHOLE)
    assert (said.vision, said.reasoning, said.answer, said.analysis) == ("a 7 and a 2", "7 + 2 = 9", "9", "both clear")
    assert (said.visual_confidence, said.reasoning_confidence) == (0.7, 1.0)
    assert said.well_formed


@given(vision=free_text, reasoning=free_text, answer=free_text, analysis=free_text, level=st.sampled_from(range(11)))
def test_whatever_is_rendered_is_read_back(vision: str, reasoning: str, answer: str, analysis: str, level: int) -> None:
    said = read(GRAMMAR.render(vision, reasoning, answer, analysis, level, 10 - level))
    assert (said.vision, said.reasoning, said.answer, said.analysis) == (vision, reasoning, answer, analysis)
    assert (said.visual_confidence, said.reasoning_confidence) == (level / 10, (10 - level) / 10)
    assert said.well_formed == (visible(vision) and visible(answer))


def test_spans_are_the_characters_of_the_contents() -> None:
    said = read(WHOLE)
    assert {name: WHOLE[slice(*span)] for name, span in said.spans.items() if span is not None} == {
        "vision": "a 7 and a 2",
        "reasoning": "7 + 2 = 9",
        "answer": "9",
        "visual_confidence": "7",
        "reasoning_confidence": "10",
    }


def test_white_space_between_blocks_and_around_levels_is_allowed() -> None:
    text = WHOLE.replace("><", ">\n\n <").replace("</think>", "</think>\n").replace(">7<", "> 7 <") + "\n"
    said = read(text)
    assert said.well_formed
    span = said.spans["visual_confidence"]
    assert span is not None and text[slice(*span)] == "7"


@pytest.mark.parametrize(
    "text",
    [
        "The answer: " + WHOLE,
        WHOLE + " I am sure.",
        WHOLE.replace("</think>", "</think>So "),
        WHOLE.replace("<analysis>", ".<analysis>"),
        WHOLE + WHOLE,
        WHOLE.replace("<think>", "<think><think>"),
        WHOLE.replace("<think>", "<thi nk>"),
        WHOLE.replace("</confidence>", ""),
        WHOLE.replace("7 + 2", r"\boxed{7} + 2"),
        WHOLE.replace("both clear", r"\boxed{9} is clear"),
        WHOLE.replace("a 7 and", "a 7 <vision> and"),
        WHOLE.replace("a 7 and a 2", " "),
        WHOLE.replace(r"\boxed{9}", r"\boxed{}"),
        WHOLE.replace(r"\boxed{9}", "9"),
        WHOLE.replace(r"\boxed{9}", r"\boxed{9"),
        WHOLE.replace("<vision>", "<Vision>"),
        r"\boxed{9}" + WHOLE.replace(r"\boxed{9}", ""),
        WHOLE.replace(r"\boxed{9}", "").replace("2 = 9", r"2 = \boxed{9}"),
        *(WHOLE[:end] for end in range(len(WHOLE))),
    ],
)
def test_anything_but_the_whole_grammar_is_not_well_formed(text: str) -> None:
    assert not read(text).well_formed


INVISIBLE = (
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\u2060",
    "\u202e",
    "\ufe0f",
    "\u0301",
    "\x00",
    "\u3164",
    "\u2800",
    "\U000e0041",
)


@pytest.mark.parametrize("character", INVISIBLE)
def test_a_part_of_invisible_characters_is_blank(character: str) -> None:
    assert not read(WHOLE.replace("a 7 and a 2", f" {character}{character}")).well_formed
    assert not read(WHOLE.replace(r"\boxed{9}", rf"\boxed{{{character}}}")).well_formed
    assert read(WHOLE.replace("a 7 and a 2", f"a{character} 7")).well_formed
    assert read(rf"\boxed{{9}} \boxed{{{character}}}").answer == "9"  # an empty box behind the answer


def test_blocks_out_of_order_are_read_and_not_well_formed() -> None:
    head, confidence = WHOLE[: WHOLE.index("<confidence>")], WHOLE[WHOLE.index("<confidence>") :]
    said = read(confidence + head)
    assert (said.vision, said.answer, said.visual_confidence, said.well_formed) == ("a 7 and a 2", "9", 0.7, False)


@pytest.mark.parametrize(
    "level", ["11", "-1", "7.5", "seven", "", " ", "07", "+7", "7/10", "1 0", "٧", "７", "7" * 5000]
)
def test_what_is_no_level_leaves_that_confidence_absent_and_the_answer_standing(level: str) -> None:
    said = read(WHOLE.replace(">7<", f">{level}<"))
    assert math.isnan(said.visual_confidence)
    assert said.spans["visual_confidence"] is None
    assert said.reasoning_confidence == 1.0
    assert said.answer == "9"
    assert not said.well_formed


def test_other_grammars_have_other_levels() -> None:
    grammar = Grammar(levels=(-2, 0, 2))
    said = parse(grammar.render("V", "R", "A", "X", -2, 0), grammar)
    assert (said.visual_confidence, said.reasoning_confidence, said.well_formed) == (0.0, 0.5, True)


def test_a_confidence_stated_twice_is_absent() -> None:
    twice = "<vision_confidence>7</vision_confidence>"
    said = read(WHOLE.replace(twice, twice + twice))
    assert math.isnan(said.visual_confidence)
    assert said.reasoning_confidence == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "<vision>a 7",
        "a 7</vision>",
        "</vision>a 7<vision>",
        "<vision>a 7</vision><vision>a 2</vision>",
        "<vision>a <reasoning>7</reasoning></vision>",
        "<vision><vision>a 7</vision></vision>",
    ],
)
def test_an_unclosed_repeated_or_nesting_part_is_absent(text: str) -> None:
    said = read(text)
    assert said.vision is None
    assert said.spans["vision"] is None


def test_a_truncated_response_keeps_what_was_complete() -> None:
    said = read(WHOLE[: WHOLE.index("<analysis>") + 15])
    assert (said.vision, said.reasoning, said.answer, said.analysis) == ("a 7 and a 2", "7 + 2 = 9", "9", None)
    assert math.isnan(said.visual_confidence)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{a \\}", r"a \\"),
        (r"\\boxed{5}", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{3} no, \boxed{4}", "4"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{3 and \boxed{4}", "4"),
        (r"} \boxed{5}", "5"),
        (r"\boxed{}", ""),
        (r"\boxed{ 5 }", " 5 "),
        (r"\boxed{5", None),
        (r"\boxed{5\}", None),
        (r"\boxed {5}", "5"),
        (r"\boxed 5", "5"),
        (r"so $\boxed 12$ it is", "12"),
        (r"\boxed\frac{1}{2}", r"\frac{1}{2}"),
        (r"\fbox{5}", "5"),
        (r"\boxed{5} and \boxed{ }", "5"),
        (r"\boxed{5}\fbox{6}", "6"),
        (r"\boxedtext{5}", None),
        (r"\boxed{5<analysis>}", None),
        ("5", None),
        ("", None),
    ],
)
def test_the_answer_is_the_last_complete_box_with_balanced_braces(text: str, answer: str | None) -> None:
    said = read(text)
    assert said.answer == answer
    span = said.spans["answer"]
    assert answer == (None if span is None else text[slice(*span)])


def test_braces_inside_the_answer_leave_a_response_well_formed() -> None:
    said = read(GRAMMAR.render("V", r"\frac{1}{2} {", r"\frac{1}{2}", "}", 1, 2))
    assert (said.answer, said.well_formed) == (r"\frac{1}{2}", True)


@given(st.one_of(st.text(), shreds))
def test_no_text_raises_and_every_span_lies_inside(text: str) -> None:
    said = read(text)
    assert set(said.spans) == set(SPAN_NAMES)
    assert all(0 <= start <= end <= len(text) for start, end in filter(None, said.spans.values()))
    assert math.isnan(said.visual_confidence) == (said.spans["visual_confidence"] is None)


@given(shreds)
def test_well_formed_is_what_renders_to_the_same_text(text: str) -> None:
    said = read(text)
    if said.well_formed:
        levels = [round(10 * level) for level in (said.visual_confidence, said.reasoning_confidence)]
        contents = [part or "" for part in (said.vision, said.reasoning, said.answer, said.analysis)]
        rendered = GRAMMAR.render(contents[0], contents[1], contents[2], contents[3], levels[0], levels[1])
        assert "".join(text.split()) == "".join(rendered.split())


@pytest.mark.parametrize(
    "unit",
    [
        *("<vision>", "\\boxed{", "\\", "{", "\\boxed{}", "<", "<vision>7</vision>", " ", "</", "<vision_confidence>7"),
        *("\u200b", "\\boxed{\u200b}", "<think>", "</confidence>", "\\boxed ", "\\\\boxed{", "}{", "\ud800"),
    ],
)
def test_time_is_linear_in_the_length(unit: str) -> None:
    text = WHOLE[:40] + unit * (1_000_000 // len(unit)) + WHOLE[40:]
    start = time.process_time()
    read(text)
    # Linear takes a few tenths of a second; quadratic would take hours.
    assert time.process_time() - start < 20.0


@pytest.mark.parametrize("closing", ["}", " }", "</vision>", "</think>"])
@pytest.mark.parametrize("opening", ["\\boxed{", "\\boxed{ ", "<think>"])
def test_time_is_linear_in_the_depth(opening: str, closing: str) -> None:
    seconds = []
    for depth in (10_000, 40_000):
        text = opening * depth + closing * depth
        start = time.process_time()
        read(text)
        unclosed(text)
        seconds.append(time.process_time() - start)

    # Four times as deep takes four times as long; what is below half a second is noise. A copy of each box, or a look
    # at all open tags for each that closes, takes 16 times.
    assert seconds[1] < max(8 * seconds[0], 0.5)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think><vision></think>", ""),
        ("<think><vision></vision>a", "<think><vision></vision>a"),
        ("</think><vision>", "<vision>"),
        ("<think><think></think>", "<think><think></think>"),
        ("<think><vision><reasoning></vision>", "<think><vision><reasoning></vision>"),
    ],
)
def test_what_is_left_open_starts_at_the_first_tag_without_an_end(text: str, left: str) -> None:
    assert unclosed(text) == left
