"""Tiny random checkpoints in the real format of each family: config, weights, tokenizer, processor, chat template.

A new family is one function here; see docs/families.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.families.tokenizer import END, TURN, gemma_tokenizer, qwen_tokenizer

TEMPLATE = (
    "START{% for message in messages %}TURN{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}END\n{% endfor %}"
    "{% if add_generation_prompt %}TURNassistant\n{% endif %}"
)
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
}
TILE, PATCH = 32, 8  # pixels
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": TILE,
    "patch_size": PATCH,
}
COLOURS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SQUARE = {"height": TILE, "width": TILE}
QWEN_MARKS = {
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
}
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def qwen2_5_vl(folder: Path) -> None:
    """Qwen2.5-VL: images of any size, windows in the vision tower, positions along three axes."""
    tokenizer = qwen_tokenizer(QWEN_MARKS)
    config = hf.Qwen2_5_VLConfig(
        text_config={
            **_text(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": PATCH,
            "window_size": TILE,
            "fullatt_block_indexes": [1],
            "out_hidden_size": 64,
        },
        **_ids(tokenizer, QWEN_MARKS),
    )
    processor = hf.Qwen2_5_VLProcessor(
        hf.Qwen2VLImageProcessor(**_qwen_pixels()),
        tokenizer,
        hf.Qwen2VLVideoProcessor(**_qwen_pixels()),
        chat_template=_template(QWEN_IMAGE),
    )
    _write(hf.Qwen2_5_VLForConditionalGeneration(config), processor, folder)


def qwen3_vl(folder: Path) -> None:
    """Qwen3-VL: images of any size, features for several layers, positions along three interleaved axes."""
    tokenizer = qwen_tokenizer(QWEN_MARKS)
    config = hf.Qwen3VLConfig(
        text_config={
            **_text(tokenizer),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [3, 3, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={**_qwen3_vision(), "deepstack_visual_indexes": [0, 1]},
        **_ids(tokenizer, QWEN_MARKS),
    )
    _write(hf.Qwen3VLForConditionalGeneration(config), _qwen3_processor(tokenizer), folder)


def qwen3_5(folder: Path) -> None:
    """Qwen3.5: recurrent layers between those with attention."""
    tokenizer = qwen_tokenizer(QWEN_MARKS)
    config = hf.Qwen3_5Config(
        text_config={
            **_text(tokenizer),
            "layer_types": ["linear_attention", "linear_attention", "full_attention"],
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
                "partial_rotary_factor": 0.5,
            },
        },
        vision_config=_qwen3_vision(),
        **_ids(tokenizer, QWEN_MARKS),
    )
    _write(hf.Qwen3_5ForConditionalGeneration(config), _qwen3_processor(tokenizer), folder)


def internvl3(folder: Path, language: str = "qwen2") -> None:
    """InternVL 3: up to four tiles of an image and a thumbnail, four tokens each."""
    marks = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = qwen_tokenizer(marks)
    config = hf.InternVLConfig(
        text_config={"model_type": language, **_text(tokenizer)},
        vision_config=VISION,
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4, **COLOURS),
        tokenizer,
        hf.InternVLVideoProcessor(size=SQUARE, **COLOURS),
        image_seq_length=4,
        chat_template=_template("<IMG_CONTEXT>\n"),
    )
    _write(hf.InternVLForConditionalGeneration(config), processor, folder)


def internvl3_5(folder: Path) -> None:
    """InternVL 3.5: the same around a language model of Qwen3's kind."""
    internvl3(folder, language="qwen3")


def gemma3(folder: Path) -> None:
    """Gemma 3: one square of four tokens per image, seen in both directions; sliding windows; a start token."""
    marks = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = gemma_tokenizer(marks)
    config = hf.Gemma3Config(
        text_config={
            **_text(tokenizer),
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "query_pre_attn_scalar": 16,
            "bos_token_id": tokenizer.bos_token_id,
            "tie_word_embeddings": True,
        },
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION},
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    template = _template("<start_of_image>", start="{{ bos_token }}", turn="<start_of_turn>", end="<end_of_turn>")
    images = hf.Gemma3ImageProcessor(size=SQUARE, **COLOURS)
    processor = hf.Gemma3Processor(images, tokenizer, chat_template=template, image_seq_length=4)
    _write(hf.Gemma3ForConditionalGeneration(config), processor, folder)


def smolvlm(folder: Path) -> None:
    """SmolVLM: an image cut into tiles between marks of row and column, and all of it again, four tokens each."""
    marks = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    places = [f"<row_{row}_col_{column}>" for row in (1, 2, 3) for column in (1, 2, 3)]
    tokenizer = qwen_tokenizer(marks, end="<end_of_utterance>", more=places)
    config = hf.SmolVLMConfig(
        text_config={"model_type": "llama", **_text(tokenizer)},
        vision_config={"model_type": "smolvlm_vision", **VISION},
        image_token_id=tokenizer.image_token_id,
        scale_factor=2,
    )
    edges = {"size": {"longest_edge": 2 * TILE}, "max_image_size": {"longest_edge": TILE}}
    processor = hf.SmolVLMProcessor(
        hf.SmolVLMImageProcessor(**edges, **COLOURS),
        tokenizer,
        hf.SmolVLMVideoProcessor(**edges, **COLOURS),
        image_seq_len=4,
        chat_template=_template("<image>", end="<end_of_utterance>"),
    )
    _write(hf.SmolVLMForConditionalGeneration(config), processor, folder)


def llava_onevision(folder: Path) -> None:
    """LLaVA-OneVision: a lone image as tiles without their bars and a newline token a row, several as a square each."""
    marks = {"image_token": "<image>", "video_token": "<video>"}
    tokenizer = qwen_tokenizer(marks)
    pinpoints = [[TILE * rows, TILE * columns] for rows in (1, 2) for columns in (1, 2)]
    config = hf.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_text(tokenizer)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION},
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=pinpoints,
    )
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=pinpoints, **COLOURS),
        tokenizer,
        hf.LlavaOnevisionVideoProcessor(size=SQUARE, **COLOURS),
        num_image_tokens=(TILE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=_template("<image>\n"),
    )
    _write(hf.LlavaOnevisionForConditionalGeneration(config), processor, folder)


FAMILIES: dict[str, Callable[[Path], None]] = {
    writer.__name__: writer
    for writer in (qwen2_5_vl, qwen3_vl, qwen3_5, internvl3, internvl3_5, gemma3, smolvlm, llava_onevision)
}


def write_checkpoint(family: str, folder: Path) -> Path:
    """An untrained checkpoint of the family in `folder`, the same one every time."""
    torch.manual_seed(0)
    FAMILIES[family](folder)
    return folder


def _write(model: Any, processor: Any, folder: Path) -> None:
    """Save all of it, with weights large enough for a token at a wrong place to show."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.1)
    tokenizer = processor.tokenizer
    model.generation_config = hf.GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _text(tokenizer: Any) -> dict[str, Any]:
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return {**TEXT, **ids, "vocab_size": len(tokenizer)}


def _ids(tokenizer: Any, marks: dict[str, str]) -> dict[str, int]:
    return {f"{name}_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()}


def _template(image: str, start: str = "", turn: str = TURN, end: str = END) -> str:
    return TEMPLATE.replace("START", start).replace("TURN", turn).replace("IMAGE", image).replace("END", end)


def _qwen3_vision() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": PATCH,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
    }


def _qwen_pixels() -> dict[str, Any]:
    cell = (2 * PATCH) ** 2
    return {"patch_size": PATCH, "size": {"shortest_edge": cell, "longest_edge": 64 * cell}, **COLOURS}


def _qwen3_processor(tokenizer: Any) -> hf.Qwen3VLProcessor:
    return hf.Qwen3VLProcessor(
        hf.Qwen2VLImageProcessor(**_qwen_pixels()),
        tokenizer,
        hf.Qwen3VLVideoProcessor(**_qwen_pixels()),
        chat_template=_template(QWEN_IMAGE),
    )
