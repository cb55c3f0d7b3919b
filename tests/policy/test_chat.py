"""What a checkpoint's chat template opens, what ends its turns, and checkpoints without a template that will do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from transformers import AutoProcessor

from tests.families.tokenizer import qwen_tokenizer
from vlcal.policy import GroupEngine, Policy, PolicySpec, TransformersEngine
from vlcal.policy.embedded import CHAT_TEMPLATE, END, IMAGE, PAD, START, VISION_END, VISION_START
from vlcal.policy.encode import placeholder_tokens
from vlcal.policy.engines.base import rollouts
from vlcal.text import Grammar
from vlcal.training.reader import ResponseReader
from vlcal.types import PromptBatch

PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
THINKING = CHAT_TEMPLATE.replace(
    PROMPT,
    "{% if add_generation_prompt %}<|im_start|>assistant{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}{% endif %}",
)
# A reply that is text alone, closed; and one that is never closed.
TEXT_REPLIES = (
    "{% for message in messages %}{% if message.role == 'user' %}<|im_start|>user{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% else %}{{ '<|im_start|>assistant ' + message.content + ' <|im_end|>' }}{% endif %}{% endfor %}"
)
OPEN_REPLIES = CHAT_TEMPLATE.replace(END, "")
RESPONSE = Grammar().render("a 7 and a 2", "7 + 2 = 9", "9", "clear", 7, 10)
Altered = Callable[..., Path]
ENGINES = (TransformersEngine, GroupEngine)


@pytest.fixture
def altered(embedded: Path, tmp_path: Path) -> Altered:
    """Writes a copy of the embedded checkpoint with another template, other ends, another tokenizer."""

    def write(
        template: str | None = CHAT_TEMPLATE,
        end: str | None = END,
        generation: str | list[str] | None = END,
        weights: bool = True,
        **tokenizer: Any,
    ) -> Path:
        folder = tmp_path / str(len([*tmp_path.iterdir()]))
        shutil.copytree(embedded, folder)
        processor = AutoProcessor.from_pretrained(folder)
        processor.chat_template = processor.tokenizer.chat_template = template
        processor.tokenizer.eos_token = end
        for name, value in tokenizer.items():
            setattr(processor.tokenizer, name, value)
        (folder / "chat_template.jinja").unlink()
        processor.save_pretrained(folder)
        config = json.loads((folder / "generation_config.json").read_text())
        config["eos_token_id"] = generation and processor.tokenizer.convert_tokens_to_ids(generation)
        (folder / "generation_config.json").write_text(json.dumps(config))
        if not weights:
            (folder / "model.safetensors").unlink()
        return folder

    return write


def build(folder: Path, **settings: Any) -> Policy:
    return PolicySpec(str(folder), dtype="float32", **settings).build()


def test_a_tag_that_the_prompt_leaves_open_belongs_to_the_response(altered: Altered, frozen_policy: Policy) -> None:
    thinking = altered(THINKING)

    assert frozen_policy.opening == ""
    assert build(thinking).opening == "<think>\n"
    assert build(thinking, template={"enable_thinking": False}).opening == ""
    assert build(thinking, template={"enable_thinking": True}).opening == "<think>\n"


def test_a_response_that_the_prompt_has_opened_is_well_formed_and_its_spans_are_its_own_tokens(
    altered: Altered, scenes: Callable[[int], PromptBatch], grammar: Grammar
) -> None:
    policy, prompts = build(altered(THINKING)), scenes(1)
    continued = RESPONSE.removeprefix("<think>")
    tokens = torch.tensor([[*policy.tokenizer.encode(continued), policy.end_tokens[0]]])

    written = rollouts(policy, tokens, torch.zeros(tokens.shape), 1)
    said = ResponseReader(grammar).read(policy, prompts, written)

    assert written.texts == (f"<think>\n{continued}",)
    assert said.well_formed.tolist() == [True] and said.answers == ("9",)
    for name, expected in {"vision": "a 7 and a 2", "answer": "9", "visual_confidence": "7"}.items():
        mask = getattr(said.spans, name)[0]
        assert policy.tokenizer.decode(tokens[0, mask]) == expected


def test_a_demonstration_and_a_text_are_learned_and_scored_behind_what_the_prompt_has_opened(altered: Altered) -> None:
    policy = build(altered(THINKING))
    continued = policy.tokenizer.encode(RESPONSE.removeprefix("<think>"))

    assert policy.response_tokens(RESPONSE) == continued
    assert policy.response_tokens("<think>\n" + RESPONSE.removeprefix("<think>")) == continued


@pytest.mark.parametrize(
    ("template", "end", "generation"),
    [
        (CHAT_TEMPLATE, PAD, PAD),
        (CHAT_TEMPLATE, None, None),
        (TEXT_REPLIES, PAD, [PAD]),
        (OPEN_REPLIES, END, PAD),
        (OPEN_REPLIES, PAD, [PAD, END]),
    ],
    ids=["template", "template alone", "template of texts", "tokenizer", "generation config"],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_completion_ends_where_template_tokenizer_or_generation_config_say(
    altered: Altered,
    leaning: Callable[[Policy, list[int], float], Policy],
    scenes: Callable[[int], PromptBatch],
    grammar: Grammar,
    engine: type[TransformersEngine],
    template: str,
    end: str | None,
    generation: str | list[str] | None,
) -> None:
    policy = build(altered(template, end, generation))
    token = policy.tokenizer.convert_tokens_to_ids(END)

    sampled = engine(6).sample(leaning(policy, [token], 100.0), policy.encode(scenes(2), grammar), 2, [0, 1])

    assert token in policy.end_tokens
    assert sampled.mask.sum(1).tolist() == [1] * 4  # the end token itself
    assert sampled.texts == ("",) * 4 and not sampled.truncated.any()


def test_a_turn_ends_first_with_the_token_of_the_template(altered: Altered) -> None:
    policy = build(altered(CHAT_TEMPLATE, PAD, [PAD, START]))

    assert policy.tokenizer.convert_ids_to_tokens(policy.end_tokens) == [END, PAD, START]


def test_a_checkpoint_without_any_end_is_refused(altered: Altered) -> None:
    with pytest.raises(ValueError, match="`path` must name the token that ends a completion; .* Set `eos_token`"):
        build(altered(OPEN_REPLIES, None, None))


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (None, "refuses a question about an image .*does not have a chat template"),
        ("{% for message in messages %}{{ message.role + message.content }}{% endfor %}", "refuses a question"),
        ("{% for message in messages %}{{ message.content }}{% endfor %}", "does not write the text of a question"),
        ("{{ raise_exception('Only texts!') }}", "refuses a question about an image .Only texts!."),
        ("{% for message in messages %}{{ message.content[-1].text }}{% endfor %}", "writes nothing for an image"),
    ],
    ids=["none", "of texts", "writes lists", "raises", "no image"],
)
def test_a_template_that_does_not_write_images_is_refused_before_weights_are_read(
    altered: Altered, template: str | None, fault: str
) -> None:
    with pytest.raises(ValueError, match=f"`path` must be .* a chat template .*{fault}.*chat_template.jinja of"):
        build(altered(template, weights=False))


def test_a_tokenizer_without_padding_is_refused_before_weights_are_read(altered: Altered) -> None:
    with pytest.raises(ValueError, match="`path` must .* a padding token.* Set `pad_token` .*'<|im_end|>'"):
        build(altered(weights=False, pad_token=None))


def test_a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_refused(
    altered: Altered, frozen_policy: Policy
) -> None:
    folder, last = altered(), len(frozen_policy.tokenizer)
    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.add_tokens(["<extra>"])
    processor.save_pretrained(folder)

    with pytest.raises(ValueError, match=f"{last} embeddings, and its tokenizer goes up to token {last}, '<extra>'"):
        build(folder)


def test_a_setting_that_the_template_does_not_read_is_refused(altered: Altered) -> None:
    with pytest.raises(ValueError, match="`template` must hold settings .* it reads no 'enable_thinkin'"):
        build(altered(THINKING), template={"enable_thinking": False, "enable_thinkin": True})


def test_a_setting_of_the_template_is_saved_with_the_policy_and_can_be_set_again(
    altered: Altered, tmp_path: Path
) -> None:
    build(altered(THINKING), template={"enable_thinking": False}).save(tmp_path / "saved")

    saved = tmp_path / "saved"
    question = [{"role": "user", "content": [{"type": "text", "text": "What?"}]}]
    prompt = AutoProcessor.from_pretrained(saved).apply_chat_template([question], add_generation_prompt=True)
    assert prompt == ["<|im_start|>userWhat?<|im_end|><|im_start|>assistant<think>\n\n</think>\n\n"]
    again = PolicySpec(str(saved), template={"enable_thinking": True}).processor()
    assert again.apply_chat_template([question], add_generation_prompt=True)[0].endswith("<think>\n")
    assert again.chat_template.count("set enable_thinking") == 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of transformers' Glm4vProcessor
def test_marks_that_a_processor_writes_for_an_image_are_placeholders_though_nothing_names_them() -> None:
    names = {"image_token": "<|image|>", "video_token": "<|video|>"}
    written = ["<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"]
    tokenizer = qwen_tokenizer(names, more=written)
    pixels = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 16384}}
    processor = hf.Glm4vProcessor(
        hf.Glm4vImageProcessor(**pixels),
        tokenizer,
        hf.Glm4vVideoProcessor(**pixels),
        chat_template=CHAT_TEMPLATE.replace(IMAGE, "<|image|>")
        .replace(VISION_START, "<|begin_of_image|>")
        .replace(VISION_END, "<|end_of_image|>"),
    )
    config = hf.Glm4vConfig(
        video_start_token_id=tokenizer.convert_tokens_to_ids("<|begin_of_video|>"),
        video_end_token_id=tokenizer.convert_tokens_to_ids("<|end_of_video|>"),
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    )

    found = placeholder_tokens(config, processor)

    assert set(tokenizer.convert_ids_to_tokens(found)) == {*names.values(), *written}
