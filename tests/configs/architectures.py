"""The sizes of the checkpoints that the configs name, as their config files state them; weights there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as hf

QWEN3_VISION_SMALL = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "deepstack_visual_indexes": [5, 11, 17],
}
QWEN3_VISION_LARGE = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "deepstack_visual_indexes": [8, 16, 24],
}


def qwen3_vl(sizes: tuple[int, int, int, int], vision: dict[str, Any], tied: bool) -> Any:
    """Sizes are width, width of the feed-forward layers, layers and heads."""
    text = {
        **_text(sizes, 8),
        "head_dim": 128,
        "vocab_size": 151936,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }
    return hf.Qwen3VLConfig(
        text_config={**text, "tie_word_embeddings": tied},
        vision_config={**vision, "out_hidden_size": sizes[0]},
        tie_word_embeddings=tied,
    )


def qwen2_5_vl(sizes: tuple[int, int, int, int], keys: int, vocabulary: int, tied: bool) -> Any:
    """Sizes are width, width of the feed-forward layers, layers and heads."""
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    return hf.Qwen2_5_VLConfig(
        text_config={
            **_text(sizes, keys),
            "vocab_size": vocabulary,
            "rope_parameters": rope,
            "tie_word_embeddings": tied,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "out_hidden_size": sizes[0],
        },
        tie_word_embeddings=tied,
    )


def internvl3_5() -> Any:
    """The 4B one: the language model of Qwen3 4B with a head of its own, the vision tower of 300M."""
    return hf.InternVLConfig(
        text_config={
            "model_type": "qwen3",
            **_text((2560, 9728, 36, 32), 8),
            "head_dim": 128,
            "vocab_size": 151936,
            "tie_word_embeddings": False,
        },
        vision_config={"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
        image_seq_length=256,
        tie_word_embeddings=False,
    )


# By the `path` of a config: how to make it, and the billions of weights its model card states.
ARCHITECTURES: dict[str, tuple[Callable[[], Any], float]] = {
    "Qwen/Qwen3-VL-2B-Instruct": (lambda: qwen3_vl((2048, 6144, 28, 16), QWEN3_VISION_SMALL, tied=True), 2.1),
    "Qwen/Qwen3-VL-4B-Instruct": (lambda: qwen3_vl((2560, 9728, 36, 32), QWEN3_VISION_SMALL, tied=True), 4.4),
    "Qwen/Qwen3-VL-8B-Instruct": (lambda: qwen3_vl((4096, 12288, 36, 32), QWEN3_VISION_LARGE, tied=False), 8.8),
    "Qwen/Qwen2.5-VL-3B-Instruct": (lambda: qwen2_5_vl((2048, 11008, 36, 16), 2, 151936, tied=True), 3.8),
    "Qwen/Qwen2.5-VL-7B-Instruct": (lambda: qwen2_5_vl((3584, 18944, 28, 28), 4, 152064, tied=False), 8.3),
    "OpenGVLab/InternVL3_5-4B-HF": (internvl3_5, 4.7),
}


def write_architecture(path: str, folder: Path) -> Path:
    """The config of a checkpoint, alone in a folder."""
    ARCHITECTURES[path][0]().save_pretrained(folder)
    return folder


def _text(sizes: tuple[int, int, int, int], keys: int) -> dict[str, int]:
    width, inner, layers, heads = sizes
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
    }
