"""The vlcal side of the benchmarks, at sizes of a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clock import Clock
from packing import around, learner_row, learner_table, step_row, step_table
from sampling import Sides, measured
from sampling import table as sampling_table
from subject import Subject
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from vlcal_step import LEARNER, Setting, VlcalStep

from vlcal.policy import LoRA, PolicySpec
from vlcal.policy.layouts.layout import Plain
from vlcal.policy.layouts.packing import Packed

TINY = Subject(prompts=2, group=2, completion=4, image=4, layers=2, width=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TINY.write(tmp_path_factory.mktemp("subject"))


def test_the_default_subject_is_as_large_as_the_bars_ask_for(tmp_path: Path) -> None:
    subject = Subject()
    subject.write(tmp_path)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(tmp_path))
    assert model.num_parameters() >= 5_000_000
    assert model.config.text_config.vocab_size == subject.vocabulary
    assert subject.image**2 >= 300
    assert AutoProcessor.from_pretrained(tmp_path).tokenizer.eos_token_id == model.config.image_token_id


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match="`vocabulary` must be at least 2055 tokens; got 100."):
        Subject(vocabulary=100)


def test_a_step_passes_each_image_once_and_each_perturbed_copy_once(folder: Path) -> None:
    side = VlcalStep(folder, TINY, Setting(copies=2))
    parts = side.step()
    assert side.tower.images == TINY.prompts * (1 + 2)
    assert {*LEARNER, "generation", "perturbed", "other"} == parts.keys()
    assert min(parts.values()) > 0
    assert side.prompt_tokens > 16


def test_the_gradient_does_not_depend_on_the_layout(folder: Path) -> None:
    side = VlcalStep(folder, TINY, Setting())
    with torch.no_grad():
        for name, weight in side.weights().items():
            weight.copy_(0.05 * torch.randn(weight.shape)) if "lora_B" in name else None
    tokens, advantages = torch.randint(500, (4, 4)), torch.tensor([1.0, -1.0, 0.5, -0.5])
    found = {}
    for layout in (Plain(), Packed()):
        side.policy.__dict__["layout"] = layout
        gradients = side.gradients(tokens, advantages)
        found[type(layout)] = torch.cat([gradient.flatten() for gradient in gradients.values()])
    assert found[Plain].norm() > 0
    torch.testing.assert_close(found[Packed], found[Plain], rtol=1e-4, atol=1e-6 * float(found[Plain].abs().max()))


def test_one_size_changes_at_a_time_and_the_centre_comes_once() -> None:
    subjects = around(TINY, images=[4, 6], completions=[4, 8], groups=[2])
    assert subjects == [TINY, replace(TINY, image=6), replace(TINY, completion=8)]


def test_tables_show_both_layouts_and_every_group(folder: Path) -> None:
    row = learner_row(folder, TINY, Setting(vision_share=0.0), repeats=1)
    assert row["tokens"] == (row["L"] + 2 * 4) / (2 * (row["L"] + 4))
    assert row["measured"] == row["packed_seconds"] / row["plain_seconds"]
    assert learner_table([row]).row_count == 1
    steps = [step_row(folder, replace(TINY, group=size), Setting(), repeats=1) for size in (2, 3)]
    assert [step["packed_tokens"] for step in steps] == [row["L"] + 8, row["L"] + 12]
    assert step_table(steps).row_count == 2


def test_sampling_is_timed_beside_generate_and_continuous_batching(folder: Path) -> None:
    policy = PolicySpec(str(folder), LoRA(2), "float32").build()
    sides = Sides(policy, TINY)

    rows = measured(sides, Clock("cpu", "wall"), continuous=True, repeats=1)

    assert [row["what"].split()[0] for row in rows] == ["images", "features", "text"]
    for row in rows:
        assert row["ratio"] == row["transformers"] / row["vlcal"] > 0
    assert not any(sides.text.images) and sides.encoded_text.length > 10
    assert sampling_table(rows).row_count == 3
