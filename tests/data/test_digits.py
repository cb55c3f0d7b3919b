"""The digits world: what is drawn, what is demonstrated, what is true."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from sklearn.datasets import load_digits

from vlcal.data.digits import DigitsDemonstrations, DigitsOracle, DigitsPrompts
from vlcal.data.digits.glyphs import load_glyphs
from vlcal.data.digits.questions import QUESTION_KINDS, Question
from vlcal.data.digits.scene import CLARITY, Scene
from vlcal.data.digits.spoil import SPOILS
from vlcal.text import Grammar, ParsedResponse, parse
from vlcal.types import PromptBatch


def batch_of(loader: object) -> PromptBatch:
    found: PromptBatch = next(iter(loader))  # type: ignore[call-overload]
    return found


def test_train_and_test_share_no_scan_and_together_are_all_scans() -> None:
    train, test = load_glyphs(held_out=False), load_glyphs(held_out=True)

    scans = {*train.scans.tolist(), *test.scans.tolist()}
    assert len(scans) == len(train) + len(test) == len(load_digits().target)
    assert len(test) == 500
    pixels = [{image.numpy().tobytes() for image in glyphs.images} for glyphs in (train, test)]
    assert not pixels[0] & pixels[1]


def test_glyphs_are_ink_between_0_and_1_with_their_labels() -> None:
    glyphs, published = load_glyphs(held_out=True), load_digits()

    assert float(glyphs.images.min()) == 0 and float(glyphs.images.max()) == 1
    assert glyphs.labels.tolist() == published.target[glyphs.scans].tolist()
    assert torch.equal(glyphs.images[0] * 16, torch.tensor(published.images[glyphs.scans[0]]).float())


def test_a_scene_is_given_by_seed_and_index_alone() -> None:
    first, again, other = DigitsPrompts(seed=3).train, DigitsPrompts(seed=3, steps=7).train, DigitsPrompts(seed=4).train

    (name, scene), (same_name, same), (_, different) = first[5], again[5], other[5]

    assert name == same_name
    assert torch.equal(scene.image, same.image)
    assert (scene.reading, scene.question, scene.strengths) == (same.reading, same.question, same.strengths)
    assert not torch.equal(scene.image, different.image)
    assert not torch.equal(scene.image, first[6][1].image)


def test_unseen_scenes_are_the_same_for_every_training_seed() -> None:
    one, two = (batch_of(DigitsPrompts(held_out=4, seed=seed).val_dataloader()) for seed in (0, 1))

    assert one.ids == two.ids
    assert all(torch.equal(left, right) for (left,), (right,) in zip(one.images, two.images, strict=True))
    assert not set(one.ids) & set(batch_of(DigitsPrompts(seed=0).train_dataloader()).ids)


def test_prompts_are_complete_and_their_images_lie_in_0_to_1() -> None:
    batch = batch_of(DigitsPrompts(batch_size=32).train_dataloader())

    assert len(batch) == 32 and len(set(batch.ids)) == 32
    for (image,), extra, target in zip(batch.images, batch.extras, batch.targets, strict=True):
        assert image.shape == (3, 32, 96)
        assert float(image.min()) >= 0 and float(image.max()) <= 1
        assert target == extra["question"].answer(extra["reading"])
        assert 0 <= extra["clearness"] == 1 - max(extra["strengths"]) <= 1


def test_every_kind_of_question_and_of_spoiling_is_drawn() -> None:
    extras = batch_of(DigitsPrompts(batch_size=200).train_dataloader()).extras

    assert set(Counter(extra["question"].kind for extra in extras)) == set(QUESTION_KINDS)
    assert set(Counter(extra["spoil"] for extra in extras)) == set(SPOILS)


@pytest.mark.parametrize("kind", list(SPOILS))
def test_strength_0_leaves_a_digit_as_it_is_and_strength_1_next_to_nothing_of_it(kind: str) -> None:
    ink = load_glyphs(held_out=True).images[0]

    def spoiled(strength: float) -> torch.Tensor:
        return SPOILS[kind](ink, strength, torch.Generator().manual_seed(0))

    torch.testing.assert_close(spoiled(0.0), ink, atol=1e-5, rtol=0)
    assert torch.equal(spoiled(0.7), spoiled(0.7))
    correlation = torch.corrcoef(torch.stack([spoiled(1.0).flatten(), ink.flatten()]))[0, 1].nan_to_num()
    assert abs(float(correlation)) < 0.6


@pytest.mark.parametrize(
    ("question", "reasoning", "answer"),
    [
        (Question("read"), "472", "472"),
        (Question("sum"), "4+7=11,11+2=13", "13"),
        (Question("sum_then_difference"), "4+7=11,11-2=9", "9"),
        (Question("chain"), "4+7=11,11+2=13,13+13=26,26-4=22", "22"),
        (Question("times", 7), "472*7=3304", "3304"),
        (Question("remainder", 9), "472%9=4", "4"),
    ],
)
def test_questions_are_reasoned_and_answered(question: Question, reasoning: str, answer: str) -> None:
    assert question.reason((4, 7, 2)) == reasoning
    assert question.answer((4, 7, 2)) == answer


def test_a_wrong_digit_hardly_ever_leads_to_the_right_answer() -> None:
    """What makes `P(answer right) = P(reading right) P(conclusion right | reading)` but for luck."""
    for kind in QUESTION_KINDS.values():
        for operand in kind.operands:
            readings = [(a, b, c) for a in range(10) for b in range(10) for c in range(10)]
            answers = {reading: kind.answer(reading, operand) for reading in readings}
            lucky = [
                answers[a, b, c] == answers[other, b, c] for a, b, c in readings for other in range(10) if other != a
            ]
            assert sum(lucky) / len(lucky) < 0.1


@pytest.mark.parametrize(
    ("vision", "answer", "truths"),
    [
        ("472", "9", (1.0, 1.0)),
        ("4 7 2", " 9 ", (1.0, 1.0)),
        ("4, 7 and 2", "10", (1.0, 0.0)),
        ("482", "10", (0.0, 1.0)),  # misread, then reasoned right from that
        ("482", "9", (0.0, 0.0)),  # right by luck
        ("47", "9", (0.0, math.nan)),
        ("four", "9", (0.0, math.nan)),
        ("", "9", (0.0, math.nan)),
    ],
)
def test_reading_and_reasoning_are_judged_apart(vision: str, answer: str, truths: tuple[float, float]) -> None:
    text = Grammar().render(vision, "4+7=11", answer, "", 5, 5)
    extras = {"reading": (4, 7, 2), "question": Question("sum_then_difference")}

    found = DigitsOracle()(parse(text, Grammar()), extras)

    assert found == pytest.approx(truths, nan_ok=True)


def test_a_response_that_says_nothing_has_read_nothing() -> None:
    extras = {"reading": (4, 7, 2), "question": Question("sum_then_difference")}

    assert DigitsOracle()(parse("hm", Grammar()), extras) == pytest.approx((0.0, math.nan), nan_ok=True)


def demonstrations() -> list[tuple[Scene, ParsedResponse, str]]:
    """Scenes of the full range of spoiling with what is demonstrated about them, and its given characters marked."""
    world = DigitsDemonstrations(steps=10, stages=(0.0, 0.0, 0.0))
    shown = []
    for name, scene in (world.train[index] for index in range(300)):
        found = world.demonstration(name, scene)
        marked = list(found.text)
        for start, end in found.given:
            marked[start:end] = ["_"] * (end - start)
        shown.append((scene, parse(found.text, world.grammar), "".join(marked)))
    return shown


def test_a_demonstrated_conclusion_follows_from_the_reading_that_is_stated() -> None:
    for scene, said, _ in demonstrations():
        assert said.well_formed
        assert said.answer == scene.question.answer([int(digit) for digit in said.vision or ""])


def test_a_digit_is_learned_where_it_is_true_and_in_one_place_only() -> None:
    """In the vision part where the true one stands there, in the analysis where a random one does."""
    stated_right = 0
    for scene, said, marked in demonstrations():
        vision = marked[marked.index("<vision>") + 8 :][:3]
        checks = (parse(marked, Grammar()).analysis or "").split()[:3]
        for place, (true, check) in enumerate(zip(scene.reading, checks, strict=True)):
            assert (vision[place] == "_") != (check[-2] == "_")
            assert vision[place] in ("_", str(true)) and check[-2] in ("_", str(true))
            stated_right += (said.vision or "")[place] == str(true)
    assert 0.48 < stated_right / 900 < 0.62  # half of the digits, and a tenth of those drawn at random


def test_the_analysis_names_clarity_and_digit_and_whether_each_and_all_were_stated() -> None:
    for scene, said, _ in demonstrations():
        *checks, verdict = (said.analysis or "").split()
        for true, stated, check in zip(scene.reading, said.vision or "", checks, strict=True):
            assert check[:-2] in CLARITY and check[-2] == str(true)
            assert check[-1] == ("=" if stated == str(true) else "#")
        assert verdict == ("number#" if any(check[-1] == "#" for check in checks) else "number=")


def test_the_first_stage_is_in_words() -> None:
    world = DigitsDemonstrations(steps=10, batch_size=4, stages=(0.5, 0.25, 0.2))
    first, last = (world.demonstrate([world.train[index]]) for index in (19, 20))

    assert first.prompts.images == ((),) and last.prompts.images != ((),)
    number = "".join(map(str, first.prompts.extras[0]["reading"]))
    assert first.prompts.questions[0].startswith(f"The number is {number}. What is")
    assert last.prompts.questions[0].startswith("What is")


def test_scans_to_learn_from_are_varied_and_those_to_test_on_are_not() -> None:
    train, test = load_glyphs(held_out=False), load_glyphs(held_out=True)

    drawn = [train.ink(0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]

    assert torch.equal(drawn[0], drawn[1]) and not torch.allclose(drawn[0], drawn[2])
    assert float(torch.corrcoef(torch.stack([drawn[0].flatten(), train.images[0].flatten()]))[0, 1]) > 0.5
    assert torch.equal(test.ink(3, torch.Generator()), test.images[3])


def test_demonstrated_levels_are_even_and_know_nothing_of_the_scene() -> None:
    world = DigitsDemonstrations(steps=20, batch_size=64, stages=(0.0, 0.0, 0.0))
    named = [world.train[index] for index in range(1280)]
    said = [parse(world.demonstration(name, scene).text, world.grammar) for name, scene in named]
    visual = torch.tensor([response.visual_confidence for response in said])
    reasoning = torch.tensor([response.reasoning_confidence for response in said])
    hardest = torch.tensor([max(scene.strengths) for _, scene in named])

    counts = torch.tensor([Counter(visual.tolist())[level] for level in visual.unique().tolist()])
    # Eleven levels, 116 responses each but for chance (a deviation of 10).
    assert len(counts) == 11 and int(counts.min()) > 75 and int(counts.max()) < 160
    assert torch.corrcoef(torch.stack([visual, reasoning, hardest])).triu(1).abs().max() < 0.12


def test_demonstrations_start_clear_then_harden_to_the_full_range() -> None:
    world = DigitsDemonstrations(steps=10, batch_size=10, stages=(0.0, 0.4, 0.2))

    assert [world.hardness(index) for index in (0, 40, 50, 60, 99)] == [
        (0.0, 0.0),
        (0.0, 0.0),
        (0.0, 0.5),
        (0.0, 1.0),
        (0.0, 1.0),
    ]
    assert max(world.train[0][1].strengths) == 0
    assert max(max(world.train[index][1].strengths) for index in range(60, 100)) > 0.8


def test_the_corpus_holds_questions_and_responses() -> None:
    corpus = DigitsDemonstrations().corpus(5)

    assert len(corpus) == 10
    assert all(text.endswith("?") for text in corpus[0::2])
    assert all(parse(text, Grammar()).well_formed for text in corpus[1::2])


def test_a_scene_beyond_the_last_is_refused() -> None:
    with pytest.raises(IndexError):
        _ = DigitsPrompts(steps=1, batch_size=2).train[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "`scenes`, which is `steps` times `batch_size`.* got 0"),
        ({"held_out": 0}, "`held_out`.* must be at least 1.* got 0"),
        ({"hardness": (0.5, 0.2)}, "`hardness` must be an increasing range"),
        ({"hardness": (0.0, 1.5)}, "`hardness` must be an increasing range"),
    ],
)
def test_impossible_worlds_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitsPrompts(**settings)  # type: ignore[arg-type]


def test_stages_that_are_longer_than_the_run_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`stages` must be three shares .* got \(0.5, 0.5, 0.1\)"):
        DigitsDemonstrations(stages=(0.5, 0.5, 0.1))
