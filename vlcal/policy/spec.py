"""What a policy is made from: cheap to write down and to parse, heavy only when built."""

from __future__ import annotations

import copy
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlcal.policy.activations import Activations, KeptActivations
from vlcal.policy.adaptation import Adaptation, Frozen
from vlcal.policy.policy import Policy

# What reading a folder ends in that holds no checkpoint, another kind of one, or half of one.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError)
BROKEN = (SafetensorError, UnpicklingError)


class PolicySpec:
    """A checkpoint and how to load and adapt it. Nothing is read before `build`, and no code of a checkpoint is run.

    Args:
        path: A checkpoint folder, or the name of one on the Hugging Face hub, such as Qwen/Qwen3-VL-4B-Instruct.
        adaptation: Which weights learn.
        dtype: Of the weights: float32, bfloat16 or float16.
        attention: Attention implementation of transformers: sdpa, eager, flash_attention_2, ...
        revision: Branch, tag or commit on the hub.
        local_files_only: Never ask the hub.
        activations: What a forward pass leaves in memory for the backward pass.
    """

    def __init__(
        self,
        path: str,
        adaptation: Adaptation = Frozen(),
        dtype: str = "bfloat16",
        attention: str = "sdpa",
        revision: str = "main",
        local_files_only: bool = False,
        activations: Activations = KeptActivations(),
    ) -> None:
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f"`dtype` must name a torch type such as bfloat16 or float32; got {dtype!r}.")
        self.path = path
        self.adaptation = adaptation
        self.dtype = dtype
        self.attention = attention
        self.revision = revision
        self.local_files_only = local_files_only
        self.activations = activations

    def in_full_precision(self) -> PolicySpec:
        """The same policy over a base that is not quantised, so that what it learned can be merged."""
        spec = copy.copy(self)
        spec.adaptation = self.adaptation.in_full_precision()
        return spec

    def build(self) -> Policy:
        """The policy, loaded and adapted.

        Raises:
            ValueError: If the checkpoint is not there or cannot be read; names the path and the reason.
        """
        where = {"revision": self.revision, "local_files_only": self.local_files_only or Path(self.path).exists()}
        dtype = getattr(torch, self.dtype)
        try:
            processor = AutoProcessor.from_pretrained(self.path, trust_remote_code=False, **where)
            model = AutoModelForImageTextToText.from_pretrained(
                self.path,
                dtype=dtype,
                attn_implementation=self.attention,
                trust_remote_code=False,  # left open, transformers asks at the keyboard
                **self.adaptation.loading(self.path, dtype, where),
                **where,
            )
        except torch.OutOfMemoryError:
            raise  # a RuntimeError that says nothing about the checkpoint
        except (*UNREADABLE, *BROKEN) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"`path` must be a vision-language checkpoint that transformers can load; {self.path!r} is not: "
                f"{reason}. Check the folder, or the name on the hub and whether it can be reached."
            ) from error
        self.activations.apply(model)
        return Policy(self.adaptation.adapt(model), model, processor)
