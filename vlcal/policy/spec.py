"""The specification of a policy: cheap to make and to parse; the weights are loaded when it is built."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor, ProcessorMixin

from vlcal.errors import UserError, one_line
from vlcal.parts import fresh_defaults
from vlcal.policy.activations import Activations, KeptActivations
from vlcal.policy.adaptation import Adaptation, Frozen
from vlcal.policy.chat import check_processor, set_template
from vlcal.policy.policy import Policy

# What transformers raises for a folder without a checkpoint, with one of another kind, or with half of one.
UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError),
    *(SafetensorError, UnpicklingError),
)


class PolicySpec:
    """A checkpoint and how to load and adapt it. Nothing is read before `build`, and no code of a checkpoint is run.

    Args:
        path: A checkpoint folder, or the name of one on the Hugging Face hub, such as Qwen/Qwen3-VL-4B-Instruct.
        adaptation: Which weights learn.
        dtype: Of the weights: float32, bfloat16 or float16.
        attention: Attention implementation of transformers: sdpa, eager, flash_attention_2, ...
        revision: Branch, tag or commit on the hub.
        activations: Which activations are kept for the backward pass.
        template: Settings of the chat template by name, such as enable_thinking: false. They are written into the
            template, so that the exported model keeps them.
    """

    @fresh_defaults
    def __init__(
        self,
        path: str,
        adaptation: Adaptation = Frozen(),
        dtype: str = "bfloat16",
        attention: str = "sdpa",
        revision: str = "main",
        activations: Activations = KeptActivations(),
        template: Mapping[str, bool | int | float | str] | None = None,
    ) -> None:
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise UserError(f"`dtype` must name a torch type such as bfloat16 or float32; got {dtype!r}.")
        self.path = path
        self.adaptation = adaptation
        self.dtype = dtype
        self.attention = attention
        self.revision = revision
        self.activations = activations
        self.template = template or {}

    @property
    def quantised(self) -> bool:
        """Whether adapters learn over a base of other weights than those of the checkpoint."""
        return self.adaptation.in_full_precision() is not self.adaptation

    def in_full_precision(self) -> PolicySpec:
        """The same policy over a base that is not quantised, into which adapters can be merged."""
        spec = copy.copy(self)
        spec.adaptation = self.adaptation.in_full_precision()
        return spec

    def check_learning(self) -> None:
        """Refuse a training in which nothing learns, before anything is read.

        Raises:
            UserError: If no weight learns.
        """
        if not self.adaptation.learns:
            raise UserError(
                "`adaptation` must be one in which weights learn in order to train; got "
                f"{type(self.adaptation).__name__}, where nothing learns; choose LoRA or QLoRA."
            )

    def build(self) -> Policy:
        """The policy, loaded and adapted.

        Raises:
            UserError: If the checkpoint is missing or cannot be read; names the path and the reason.
        """
        processor = self.processor()
        dtype = getattr(torch, self.dtype)
        with self.reading():
            model = AutoModelForImageTextToText.from_pretrained(
                self.path,
                dtype=dtype,
                attn_implementation=self.attention,
                **self.adaptation.loading(self.path, dtype, self.source),
                **self.source,
            )
        self.activations.apply(model)
        return Policy(self.adaptation.adapt(model), model, processor)

    def processor(self) -> ProcessorMixin:
        """The processor alone, with the settings of its chat template.

        Raises:
            UserError: If it cannot be read, or does not write questions about images.
        """
        with self.reading():
            processor = AutoProcessor.from_pretrained(self.path, **self.source)
        check_processor(processor)
        set_template(processor, self.template)
        return processor

    @property
    def source(self) -> dict[str, Any]:
        """The arguments of `from_pretrained` that say where to read from."""
        return {
            "revision": self.revision,
            "local_files_only": Path(self.path).exists(),
            "trust_remote_code": False,  # left out, transformers prompts on the terminal
        }

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A context that reads the checkpoint.

        Raises:
            UserError: If it is missing or cannot be read; names the path and the reason.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise  # a RuntimeError, but no fault of the checkpoint
        except UNREADABLE as error:
            reason = one_line(error)
            raise UserError(
                f"`path` must be a vision-language checkpoint that transformers can load; {self.path!r} is not: "
                f"{reason}. Check the folder, or the name on the hub and whether it can be reached."
            ) from error
