"""How much memory a policy takes, found out on a model of the same architecture whose tensors hold nothing."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModelForImageTextToText,
    PreTrainedModel,
)
from transformers.quantizers.quantizers_utils import should_convert_module

from vlcal.policy.layers import checkpointable, decoder
from vlcal.policy.spec import UNREADABLE, PolicySpec

COUNTED = "vlcal_counted"  # our attention for passes over nothing, by the name transformers finds it
SHORT, LONG = 16, 48  # tokens of the two passes that tell what a cache grows by

# NF4 with double quantisation, Dettmers et al. (2023): two weights a byte, an 8-bit scale per 64 weights, a float32
# scale per 256 of these scales and their mean; both tables of codes, of 16 and of 256 float32.
BLOCK, BLOCK_OF_SCALES = 64, 256
CODES = 4 * (16 + 256)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are made in this context and not yet freed, on any device, `meta` included.

    What a kernel allocates for itself is not counted.

    Args:
        given: Tensors from before that are not to be counted when a view of them is made.
    """

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[Any]] = {}
        for tensor in given:
            self._meet(tensor, counted=False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._meet(value, counted=True)
        return result

    def _meet(self, tensor: Tensor, counted: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes() if counted else 0
            self._watched[key] = weakref.ref(storage, lambda _: self._forget(key))
            self.now += self._sizes[key]
            self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        self._watched.pop(key, None)
        self.now -= self._sizes.pop(key, 0)


@dataclass(frozen=True)
class PassBytes:
    """Bytes of one pass through the decoder, weights and their gradients aside.

    Args:
        kept: Alive between the forward and the backward pass.
        peak: Alive at the worst moment of both.
    """

    kept: int
    peak: int


@dataclass(frozen=True)
class CacheBytes:
    """Bytes of keys and values, or of what a family has in their place.

    Args:
        token: That each token adds.
        row: That a row takes however short it is, such as the state of recurrent layers.
    """

    token: int
    row: int


class Skeleton:
    """A policy as its spec describes it, with the shapes of everything and the contents of nothing.

    Passes through it run on the `meta` device: they take a second and no memory, and `LiveBytes` counts what the same
    passes would hold elsewhere.

    Args:
        spec: What the policy is made from. Its config is read, its weights are not.

    Raises:
        ValueError: If there is no config of a vision-language model at `spec.path`.
    """

    def __init__(self, spec: PolicySpec) -> None:
        self.dtype: torch.dtype = getattr(torch, spec.dtype)
        where = {"revision": spec.revision, "local_files_only": spec.local_files_only or Path(spec.path).exists()}
        try:
            self.config = AutoConfig.from_pretrained(spec.path, trust_remote_code=False, **where)
            quantisation = spec.adaptation.loading(spec.path, self.dtype, where).get("quantization_config")
            self.backbone = self._empty(spec.attention)
        except UNREADABLE as error:
            raise ValueError(
                f"`path` must be a vision-language checkpoint that transformers can load; {spec.path!r} is not: "
                f"{error}. Check the folder, or the name on the hub and whether it can be reached."
            ) from error
        skipped = None if quantisation is None else quantisation.llm_int8_skip_modules
        self._quantised: dict[int, nn.Parameter] = {} if quantisation is None else _converted(self.backbone, skipped)
        spec.activations.apply(self.backbone)
        self.adapted = spec.adaptation.adapt(self.backbone)

    @cached_property
    def learning(self) -> list[nn.Parameter]:
        """The weights that learn."""
        return [weight for weight in self.adapted.parameters() if weight.requires_grad]

    @property
    def count(self) -> int:
        """Weights, adapters aside."""
        learning = {id(weight) for weight in self.learning} if self.adapted is not self.backbone else set()
        return sum(weight.numel() for weight in self.backbone.parameters() if id(weight) not in learning)

    @property
    def width(self) -> int:
        """Of hidden states, `D`."""
        return int(self.backbone.get_input_embeddings().weight.shape[1])

    @property
    def vocabulary(self) -> int:
        """Tokens that the head knows, `V`."""
        return int(self.backbone.get_output_embeddings().weight.shape[0])

    @property
    def layers_of_features(self) -> int:
        """How often the features of an image enter the language model: once, or once more for each deep layer."""
        return 1 + len(getattr(self.config.vision_config, "deepstack_visual_indexes", ()))

    def weight_bytes(self) -> dict[str, int]:
        """Bytes of the weights: those that rest outside and inside the decoder, and those that learn."""
        inside = {id(weight) for weight in decoder(self.backbone).parameters()}
        found = {"vision tower and head": 0, "language model": 0, "weights that learn": 0}
        for weight in self.adapted.parameters():
            part = "language model" if id(weight) in inside else "vision tower and head"
            found["weights that learn" if weight.requires_grad else part] += self._bytes(weight)
        return found

    def unpacked_bytes(self) -> int:
        """The largest 4-bit layer in the dtype it is multiplied in; one at a time is unpacked. 0 where none is."""
        return max((weight.numel() for weight in self._quantised.values()), default=0) * self.dtype.itemsize

    def update_bytes(self, tokens: int) -> PassBytes:
        """What one forward and backward pass over so many tokens holds."""
        decoder(self.backbone).train()
        for weight in self.learning:
            weight.grad = torch.zeros_like(weight)  # counted by itself
        with torch.enable_grad(), self._counter() as live:
            states = self._states(1, tokens)
            kept = live.now
            states.backward(torch.empty_like(states))  # type: ignore[no-untyped-call]
            peak = live.peak
        return PassBytes(kept, peak + self.unpacked_bytes())

    def scoring_bytes(self, tokens: int) -> int:
        """What one pass over so many tokens holds at its worst moment, without gradients."""
        decoder(self.backbone).eval()
        with torch.no_grad(), self._counter() as live:
            self._states(1, tokens)
        return live.peak + self.unpacked_bytes()

    def grouping_bytes(self, tokens: int, prompt: int, completions: int) -> int:
        """What attention group by group adds: keys and values of a prompt beside those of each of its completions.

        Queries and sums of all `tokens` are moved as well. One block holds this at a time, and every block that is not
        recomputed holds its own until the backward pass.
        """
        text = self.config.get_text_config()
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        slot = 2 * text.num_attention_heads * width * self.dtype.itemsize
        kept = sum(not block.gradient_checkpointing for block in checkpointable(decoder(self.backbone)))
        return (completions * prompt + tokens) * slot * (1 + kept)

    def cache_bytes(self) -> CacheBytes:
        """What the engine keeps of a prompt and of what it writes."""
        decoder(self.backbone).eval()
        held = []
        for tokens in (SHORT, LONG):
            with torch.no_grad(), self._counter() as live:
                cache = self._pass(1, tokens, use_cache=True).past_key_values
                held.append(live.now)
            del cache
        token = ceil((held[1] - held[0]) / (LONG - SHORT))
        return CacheBytes(token, max(0, held[0] - SHORT * token))

    def patch_values(self) -> int:
        """Numbers in a picture that make one patch of the vision tower."""
        kernels = [part for part in self._tower() if isinstance(part, nn.Conv2d | nn.Conv3d)]
        return int(kernels[0].weight[0].numel()) if kernels else 1

    def encoding_bytes(self, patches: int) -> int:
        """What the vision tower holds at once: input, norm, queries, keys, values, sum, and its widest layer twice."""
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
        # Every fused kernel keeps the same; the plain product alone keeps its weights of tokens on tokens.
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


class _Attended(torch.autograd.Function):
    """A fused attention kernel, as far as memory goes: keeps what it was given, what it gives, and a sum per query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        given = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, given, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return given

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query, key, value, *_ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; heads that share keys get copies, as they do beside a mask."""
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    given: Tensor = _Attended.apply(query, key, value)
    return given.transpose(1, 2).contiguous(), None


# Without a mask of its own, transformers makes none: to make one, it would look at contents.
AttentionInterface.register(COUNTED, _attend)
