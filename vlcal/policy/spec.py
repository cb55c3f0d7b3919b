"""What a policy is made from: cheap to write down and to parse, heavy only when built."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlcal.policy.adaptation import Adaptation, Frozen
from vlcal.policy.policy import Policy

# What reading a folder ends in that holds no checkpoint, another kind of one, or half of one.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError)
BROKEN = (SafetensorError, UnpicklingError)


class PolicySpec:
    """A checkpoint and how to load and adapt it. Nothing is read before `build`.

    Args:
        path: A checkpoint folder, or the name of one on the Hugging Face hub, such as Qwen/Qwen3-VL-4B-Instruct.
        adaptation: Which weights learn.
        dtype: Of the weights: float32, bfloat16 or float16.
        attention: Attention implementation of transformers: sdpa, eager, flash_attention_2, ...
        revision: Branch, tag or commit on the hub.
        local_files_only: Never ask the hub.
    """

    def __init__(
        self,
        path: str,
        adaptation: Adaptation = Frozen(),
        dtype: str = "bfloat16",
        attention: str = "sdpa",
        revision: str = "main",
        local_files_only: bool = False,
    ) -> None:
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f"`dtype` must name a torch type such as bfloat16 or float32; got {dtype!r}.")
        self.path = path
        self.adaptation = adaptation
        self.dtype = dtype
        self.attention = attention
        self.revision = revision
        self.local_files_only = local_files_only

    def build(self) -> Policy:
        """The policy, loaded and adapted.

        Raises:
            ValueError: If the checkpoint is not there or cannot be read; names the path and the reason.
        """
        where = {"revision": self.revision, "local_files_only": self.local_files_only or Path(self.path).exists()}
        try:
            processor = AutoProcessor.from_pretrained(self.path, **where)
            model = AutoModelForImageTextToText.from_pretrained(
                self.path,
                dtype=getattr(torch, self.dtype),
                attn_implementation=self.attention,
                **self.adaptation.loading(),
                **where,
            )
        except torch.OutOfMemoryError:
            raise  # a RuntimeError that says nothing about the checkpoint
        except (*UNREADABLE, *BROKEN) as error:
            raise ValueError(
                f"`path` must be a vision-language checkpoint that transformers can load; {self.path!r} is not: "
                f"{error}. Check the folder, or the name on the hub and whether it can be reached."
            ) from error
        return Policy(self.adaptation.adapt(model), model, processor)
