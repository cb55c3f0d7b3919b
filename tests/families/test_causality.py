"""A family whose completions do not follow one another token by token is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as hf

from tests.families.checkpoints import COLOURS, SQUARE, TEXT, VISION
from tests.families.tokenizer import gemma_tokenizer
from vlcal.policy import PolicySpec

TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}"
)
TEMPLATE += "{{ part.text }}{% endif %}{% endfor %}{% endfor %}"


@pytest.fixture(scope="module")
def paligemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PaliGemma: image and question attend to each other both ways, and to whatever is not marked as a suffix."""
    folder = tmp_path_factory.mktemp("families") / "paligemma"
    tokenizer = gemma_tokenizer({"image_token": "<image>"})
    images = hf.SiglipImageProcessor(size=SQUARE, **COLOURS)
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, tokenizer, chat_template=TEMPLATE)
    config = hf.PaliGemmaConfig(
        text_config={"model_type": "gemma", **TEXT, "vocab_size": len(tokenizer), "pad_token_id": 0},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION, "projection_dim": 64},
        projection_dim=64,
        hidden_size=64,
        image_token_index=tokenizer.image_token_id,
    )
    model = hf.PaliGemmaForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in its processor
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_later_token_that_moves_an_earlier_state_is_refused(paligemma: Path, dtype: str) -> None:
    policy = PolicySpec(str(paligemma), dtype=dtype).build()

    with pytest.raises(ValueError, match=r"`path` must be a model that reads a completion token by token") as refused:
        _ = policy.layout

    assert "\n" not in str(refused.value)
