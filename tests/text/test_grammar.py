from __future__ import annotations

import pytest

from vlcal.text import Grammar, parse


def test_render_joins_tags_and_contents_without_white_space() -> None:
    text = Grammar().render("V", "R", "A", "X", 7, 9)
    assert text == (
        r"<think><vision>V</vision><reasoning>R</reasoning></think>\boxed{A}<analysis>X</analysis>"
        "<confidence><vision_confidence>7</vision_confidence><reasoning_confidence>9</reasoning_confidence></confidence>"
    )


def test_tags_are_what_an_empty_response_consists_of() -> None:
    empty = Grammar().render("", "", "", "", 0, 0).replace(">0<", "><")
    assert "".join(Grammar().tags) == empty


def test_tags_hold_both_ends_of_the_box() -> None:
    assert {"\\boxed{", "}"} <= set(Grammar().tags)


def test_prompt_puts_the_instructions_after_the_question() -> None:
    assert Grammar(instructions="Use tags.").prompt("How many?") == "How many?\n\nUse tags."


def test_empty_instructions_leave_the_bare_question() -> None:
    assert Grammar(instructions="").prompt("How many?") == "How many?"


def test_default_instructions_name_every_tag_in_order_and_every_level() -> None:
    prompt = Grammar(levels=(1, 3, 5)).prompt("How many?")
    position = 0
    for tag in Grammar().tags:
        position = prompt.index(tag, position) + len(tag)
    assert "1, 3, 5" in prompt


def test_the_prompt_is_no_response() -> None:
    assert not parse(Grammar().prompt("How many?"), Grammar()).well_formed


@pytest.mark.parametrize(
    ("levels", "level", "confidence"),
    [(tuple(range(11)), 0, 0.0), (tuple(range(11)), 7, 0.7), (tuple(range(11)), 10, 1.0), ((1, 2, 5), 2, 0.25)],
)
def test_confidence_is_the_place_between_lowest_and_highest_level(
    levels: tuple[int, ...], level: int, confidence: float
) -> None:
    assert Grammar(levels=levels).confidence(level) == confidence


@pytest.mark.parametrize("levels", [(), (5,), (0, 0, 1), (2, 1)])
def test_too_few_repeated_or_unsorted_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="`levels` must hold at least two integers in strictly increasing order"):
        Grammar(levels=levels)


def test_a_level_outside_the_grammar_is_refused() -> None:
    with pytest.raises(ValueError, match="`level` must be one of .* got 11"):
        Grammar().confidence(11)
    with pytest.raises(ValueError, match="`level` must be one of .* got 11"):
        Grammar().render("V", "R", "A", "X", 3, 11)
