"""A model family that vlcal does not name: a tiny checkpoint of Qwen2-VL in its real format, and what it must pass.

Nothing is registered. `PolicySpec` loads whatever transformers loads, if the model takes images that were encoded
beforehand; the checks below are the ones of tests/families, in short.
"""

from pathlib import Path

import torch
import transformers as hf

from vlcal.policy import Continuations, GroupEngine, PolicySpec
from vlcal.text import Grammar
from vlcal.types import PromptBatch

PATCH = 8  # pixels
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
}
VISION = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": PATCH}


def write_qwen2_vl(folder: Path, like: Path) -> Path:
    """An untrained checkpoint in `folder`, with the tokenizer and the chat template of the checkpoint `like`."""
    model_of_text = hf.AutoProcessor.from_pretrained(like)
    tokenizer = model_of_text.tokenizer
    token = tokenizer.convert_tokens_to_ids
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = hf.Qwen2VLConfig(
        text_config={**TEXT, **ends, "vocab_size": len(tokenizer)},
        vision_config=VISION,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    torch.manual_seed(0)
    model = hf.Qwen2VLForConditionalGeneration(config)
    model.generation_config = hf.GenerationConfig(**ends)
    model.save_pretrained(folder)
    pixels = {"patch_size": PATCH, "size": {"shortest_edge": (2 * PATCH) ** 2, "longest_edge": 64 * (2 * PATCH) ** 2}}
    images, videos = hf.Qwen2VLImageProcessor(**pixels), hf.Qwen2VLVideoProcessor(**pixels)
    hf.Qwen2VLProcessor(images, tokenizer, videos, chat_template=model_of_text.chat_template).save_pretrained(folder)
    return folder


def check(folder: Path, prompts: PromptBatch) -> float:
    """The largest difference in nats between the probability that a token was sampled with and that scoring gives it.

    Sampling writes token by token behind kept keys and values, scoring reads whole groups in packed rows: they agree
    only if positions, masks and images are right. Near 0 is what a family must reach.
    """
    policy = PolicySpec(str(folder), dtype="float32").build()
    encoded = policy.encode(prompts, Grammar())
    rollouts = GroupEngine(max_new_tokens=8).sample(policy, encoded, group_size=2, seeds=range(len(prompts)))
    with torch.no_grad():
        scored, _ = policy.score(Continuations.of(encoded, rollouts.tokens, rollouts.mask))
    return float((scored - rollouts.log_probs)[rollouts.mask].abs().max())
