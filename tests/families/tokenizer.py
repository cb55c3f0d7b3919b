"""Tokenizers of the families' own classes, trained on a few sentences."""

from __future__ import annotations

import json
from typing import Any

import transformers as hf
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

TEXTS = ("user", "assistant", "What is the first digit?", "Which is larger, the first or the second?", "0123456789")
TURN, END = "<|im_start|>", "<|im_end|>"


def qwen_tokenizer(marks: dict[str, str], end: str = END, more: list[str] | None = None) -> Any:
    """A byte-level BPE of Qwen's kind, as GPT-2 has it too, in which every mark is one token with a name."""
    trained = Tokenizer(BPE())
    trained.pre_tokenizer = hf.Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    trained.train_from_iterator(
        TEXTS, BpeTrainer(vocab_size=300, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    tokenizer = hf.Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        eos_token=end,
        pad_token="<|endoftext|>",
        extra_special_tokens=marks,
    )
    tokenizer.add_tokens([TURN, *(more or [])], special_tokens=True)
    return tokenizer


def gemma_tokenizer(marks: dict[str, str]) -> Any:
    """A BPE of Gemma's kind, with spaces as ▁ and a start token in front of every text."""
    trained = Tokenizer(BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.decoder = decoders.Replace("▁", " ")
    letters = sorted({chr(code) for code in range(33, 127)} | {"▁", "\n"})
    first = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    trained.train_from_iterator(
        TEXTS,
        BpeTrainer(
            vocab_size=200, initial_alphabet=letters, special_tokens=first, max_token_length=8, show_progress=False
        ),
    )
    model = json.loads(trained.to_str())["model"]
    tokenizer = hf.GemmaTokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        eos_token="<end_of_turn>",
        add_bos_token=True,
        extra_special_tokens=marks,
    )
    tokenizer.add_tokens(["<start_of_turn>"], special_tokens=True)
    return tokenizer
