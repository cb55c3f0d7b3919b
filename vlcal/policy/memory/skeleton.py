"""The memory of a policy, counted on a model of the same architecture without weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel
from transformers.quantizers.quantizers_utils import should_convert_module

from vlcal.policy.layers import checkpointable, decoder
from vlcal.policy.memory.live_bytes import COUNTED, LiveBytes
from vlcal.policy.spec import PolicySpec

SHORT, LONG = 16, 48  # tokens of the two passes whose difference gives the cache per token

# NF4 with double quantisation, Dettmers et al. (2023): two weights a byte, an 8-bit scale per 64 weights, a float32
# scale per 256 of these scales and their mean; both tables of codes, of 16 and of 256 float32.
BLOCK, BLOCK_OF_SCALES = 64, 256
CODES = 4 * (16 + 256)


@dataclass(frozen=True)
class PassBytes:
    """Bytes of one pass through the decoder, without weights and their gradients.

    Args:
        kept: Held between the forward and the backward pass.
        peak: Most held at a time.
    """

    kept: int
    peak: int


@dataclass(frozen=True)
class CacheBytes:
    """Bytes of the cache: keys and values, or the state of recurrent layers.

    Args:
        token: Of each token.
        row: Of a row whatever its length, such as recurrent state.
    """

    token: int
    row: int


class Skeleton:
    """The policy of a spec on the `meta` device: shapes without contents.

    Passes through it take a second and no memory, and `LiveBytes` counts what they would hold on a GPU.

    Args:
        spec: The policy. Its config is read, its weights are not.

    Raises:
        UserError: If there is no config of a vision-language model at `spec.path`.
    """

    def __init__(self, spec: PolicySpec) -> None:
        self.dtype: torch.dtype = getattr(torch, spec.dtype)
        with spec.reading():
            self.config = AutoConfig.from_pretrained(spec.path, **spec.source)
            quantisation = spec.adaptation.loading(spec.path, self.dtype, spec.source).get("quantization_config")
            self.backbone = self._empty(spec.attention)
        skipped = None if quantisation is None else quantisation.llm_int8_skip_modules
        self._quantised: dict[int, nn.Parameter] = {} if quantisation is None else _converted(self.backbone, skipped)
        spec.activations.apply(self.backbone)
        self.adapted = spec.adaptation.adapt(self.backbone)
        self._updates: dict[int, PassBytes] = {}
        self._scorings: dict[int, int] = {}

    @cached_property
    def learning(self) -> list[nn.Parameter]:
        """The weights that learn."""
        return [weight for weight in self.adapted.parameters() if weight.requires_grad]

    @property
    def count(self) -> int:
        """Number of weights, adapters not counted."""
        learning = {id(weight) for weight in self.learning} if self.adapted is not self.backbone else set()
        return sum(weight.numel() for weight in self.backbone.parameters() if id(weight) not in learning)

    @property
    def width(self) -> int:
        """Width of hidden states, `D`."""
        return int(self.backbone.get_input_embeddings().weight.shape[1])

    @property
    def vocabulary(self) -> int:
        """Tokens of the vocabulary, `V`."""
        return int(self.backbone.get_output_embeddings().weight.shape[0])

    @property
    def embeddings(self) -> int:
        """Tokens that have an embedding."""
        return int(self.backbone.get_input_embeddings().weight.shape[0])

    @property
    def layers_of_features(self) -> int:
        """Feature vectors per image token: one, and one more for each deepstack layer."""
        return 1 + len(getattr(self.config.vision_config, "deepstack_visual_indexes", ()))

    def weight_bytes(self) -> dict[str, int]:
        """Bytes of the frozen weights outside and inside the decoder, and of the weights that learn."""
        inside = {id(weight) for weight in decoder(self.backbone).parameters()}
        total = {"vision tower and head": 0, "language model": 0, "weights that learn": 0}
        for weight in self.adapted.parameters():
            part = "language model" if id(weight) in inside else "vision tower and head"
            total["weights that learn" if weight.requires_grad else part] += self._bytes(weight)
        return total

    def unpacked_bytes(self) -> int:
        """Bytes of the largest 4-bit layer when dequantised, one at a time; 0 without quantisation."""
        return max((weight.numel() for weight in self._quantised.values()), default=0) * self.dtype.itemsize

    def update_bytes(self, tokens: int) -> PassBytes:
        """Bytes of one forward and backward pass over `tokens` tokens, which runs once for each number of them."""
        if tokens not in self._updates:
            self._updates[tokens] = self._update_bytes(tokens)
        return self._updates[tokens]

    def scoring_bytes(self, tokens: int) -> int:
        """Peak bytes of one pass over `tokens` tokens without gradients, which runs once for each number of them."""
        if tokens not in self._scorings:
            self._scorings[tokens] = self._scoring_bytes(tokens)
        return self._scorings[tokens]

    def _update_bytes(self, tokens: int) -> PassBytes:
        decoder(self.backbone).train()
        for weight in self.learning:
            weight.grad = torch.zeros_like(weight)  # counted elsewhere
        with torch.enable_grad(), self._counter() as live:
            states = self._states(1, tokens)
            kept = live.now
            states.backward(torch.empty_like(states))  # type: ignore[no-untyped-call]
            peak = live.peak
        return PassBytes(kept, peak + self.unpacked_bytes())

    def _scoring_bytes(self, tokens: int) -> int:
        decoder(self.backbone).eval()
        with torch.no_grad(), self._counter() as live:
            self._states(1, tokens)
        return live.peak + self.unpacked_bytes()

    def grouping_bytes(self, tokens: int, prompt: int, completions: int) -> int:
        """Bytes that attention per group adds: copies of a prompt's keys and values beside each of its completions.

        Queries and outputs of all `tokens` are copied as well. One block holds this at a time, and every block that is
        not recomputed holds its own until the backward pass.
        """
        text = self.config.get_text_config()
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        slot = 2 * text.num_attention_heads * width * self.dtype.itemsize
        kept = sum(not block.gradient_checkpointing for block in checkpointable(decoder(self.backbone)))
        return (completions * prompt + tokens) * slot * (1 + kept)

    @cached_property
    def cache_bytes(self) -> CacheBytes:
        """Bytes of the cache of the engine."""
        decoder(self.backbone).eval()
        held = []
        for tokens in (SHORT, LONG):
            with torch.no_grad(), self._counter() as live:
                output = self._pass(1, tokens, use_cache=True)
                cache = output["cache" if "cache" in output.keys() else "past_key_values"]  # noqa: SIM118 - asks for either
                del output  # whose states are no part of the cache
                held.append(live.now)
            del cache
        token = ceil((held[1] - held[0]) / (LONG - SHORT))
        return CacheBytes(token, max(0, held[0] - SHORT * token))

    def patch_values(self) -> int:
        """Pixel values of one patch of the vision tower."""
        kernels = [part for part in self._tower() if isinstance(part, nn.Conv2d | nn.Conv3d)]
        return int(kernels[0].weight[0].numel()) if kernels else 1

    def encoding_bytes(self, patches: int) -> int:
        """Peak bytes of the vision tower: input, norm, queries, keys, values, output, and its widest layer twice."""
        widths = [part.out_features for part in self._tower() if isinstance(part, nn.Linear)]
        hidden = int(self.config.vision_config.hidden_size)
        return patches * (6 * hidden + 2 * max(widths, default=0)) * self.dtype.itemsize

    def _counter(self) -> LiveBytes:
        weights = list(self.adapted.parameters())
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        return LiveBytes([*weights, *gradients, *self.adapted.buffers()])

    def _tower(self) -> Iterator[nn.Module]:
        language = {id(module) for module in decoder(self.backbone).modules()}
        head = self.backbone.get_output_embeddings()
        return (part for part in self.backbone.modules() if id(part) not in language and part is not head)

    def _empty(self, attention: str) -> PreTrainedModel:
        # All fused kernels keep the same tensors; eager attention keeps its (T, T) weights too.
        implementation = attention if attention == "eager" else COUNTED
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(
                self.config, dtype=self.dtype, attn_implementation=implementation, trust_remote_code=False
            )

    def _bytes(self, weight: nn.Parameter) -> int:
        return nf4_bytes(weight.numel()) if id(weight) in self._quantised else weight.numel() * weight.itemsize

    def _states(self, rows: int, tokens: int) -> Float[Tensor, "rows tokens D"]:
        states: Tensor = self._pass(rows, tokens, use_cache=False).last_hidden_state
        return states

    def _pass(self, rows: int, tokens: int, use_cache: bool) -> Any:
        embedded = torch.empty(rows, tokens, self.width, dtype=self.dtype, device="meta")
        return decoder(self.backbone)(inputs_embeds=embedded, use_cache=use_cache)


def nf4_bytes(weights: int) -> int:
    """Bytes of a matrix in 4-bit NormalFloat with double quantisation.

    >>> nf4_bytes(2560 * 9728) / (2560 * 9728)  # a little over half a byte each
    0.515...
    """
    scales = ceil(weights / BLOCK)
    return ceil(weights / 2) + scales + 4 * ceil(scales / BLOCK_OF_SCALES) + 4 + CODES


def _converted(model: PreTrainedModel, skipped: list[str] | None) -> dict[int, nn.Parameter]:
    """The weights that transformers quantises while loading."""
    return {
        id(module.weight): module.weight  # type: ignore[misc]
        for name, module in model.named_modules()
        if type(module) is nn.Linear and should_convert_module(name, skipped)
    }
