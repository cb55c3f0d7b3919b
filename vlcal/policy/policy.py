"""The policy: a vision-language model that writes completions and is scored on them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter

import torch
from jaxtyping import Bool, Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from vlcal.errors import UserError
from vlcal.functional.vocabulary import token_statistics
from vlcal.policy.adapters import as_started, save_learned
from vlcal.policy.chat import check_vocabulary, end_tokens, prompt_opening
from vlcal.policy.encode import encoded_prompts, placeholder_tokens, processed
from vlcal.policy.grid import token_grid
from vlcal.policy.layouts.continuations import Continuations, MicroBatch
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.layouts.fitting import fitting_layout, trial_continuations, trial_prompts
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.layout import Layout
from vlcal.policy.lockstep import Alone
from vlcal.policy.plain_text import asked
from vlcal.text import Grammar, behind
from vlcal.text.levels import level_tokens
from vlcal.types import PromptBatch

logger = logging.getLogger(__name__)

SLOW = 2.0  # times float32, from which on a dtype is warned of on a CPU


class Policy(nn.Module):
    """A vision-language model with its processor.

    Args:
        adapted: The model as it learns: `backbone` itself, or the adapter wrapper around it.
        backbone: The model that transformers loaded.
        processor: Its processor.

    Attributes:
        opening: What every prompt has written of its response, such as `<think>`; mostly nothing.
        end_tokens: Tokens that end a completion; the first is the one that ends a turn of the chat template.
        lockstep: Whether ranks must pass together, and what they agree on.
        gathered: All weights by name where ranks share them, once they were brought together; what `save` writes.
    """

    def __init__(self, adapted: nn.Module, backbone: PreTrainedModel, processor: ProcessorMixin) -> None:
        super().__init__()
        self.adapted = adapted
        self.__dict__["backbone"] = backbone  # part of `adapted`: registered twice, it would be saved twice
        check_vocabulary(processor.tokenizer, len(backbone.get_input_embeddings().weight))
        self.processor = processor
        self.opening = prompt_opening(processor)
        # Now, since engines take the generation config of the checkpoint away while they sample.
        self.end_tokens = end_tokens(processor, backbone.generation_config)
        language = {id(weight) for part in _language_parts(backbone) for weight in part.parameters()}
        self.vision_frozen = not any(
            weight.requires_grad for weight in backbone.parameters() if id(weight) not in language
        )
        self.lockstep = Alone()
        self.gathered: dict[str, Tensor] | None = None
        self._placed_forbidden: Tensor | None = None
        self._grids: dict[tuple[int, int], tuple[int, int]] = {}
        self.eval()  # as the loaded model; fresh adapters and this wrapper start in training mode

    backbone: PreTrainedModel

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer inside the processor."""
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.device

    @cached_property
    def placeholders(self) -> list[int]:
        """Tokens that stand for images, videos and sounds: never sampled, never scored."""
        return placeholder_tokens(self.backbone.config, self.processor)

    @property
    def _forbidden(self) -> Int[Tensor, " f"]:
        """The placeholders where the policy is, uploaded once."""
        if self._placed_forbidden is None or self._placed_forbidden.device != self.device:
            with torch.inference_mode(False):  # made while validating, it shall serve a gradient too
                self._placed_forbidden = torch.tensor(self.placeholders, dtype=torch.long, device=self.device)
        return self._placed_forbidden

    @property
    def pad_token_id(self) -> int:
        """The token that stands outside masks."""
        return self.tokenizer.pad_token_id

    @cached_property
    def headless(self) -> HeadlessModel:
        """The model below its head."""
        return HeadlessModel(self.backbone, self.pad_token_id, self._anywhere)

    @cached_property
    def layout(self) -> Layout:
        """How completions lie in rows, chosen by a trial at the first pass, on the device of that pass."""
        if self.device.type == "cpu":
            _warn_of_slow_dtype(self.backbone.dtype)
        with torch.no_grad(), self.evaluating():
            return fitting_layout(self.headless, self._trial)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A context in evaluation mode: without dropout."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    def encode(self, prompts: PromptBatch, grammar: Grammar) -> EncodedPrompts:
        """The prompts, each image passed through the vision tower once; with gradient only where the tower learns.

        Raises:
            NonFiniteError: If features of images are not finite.
        """
        texts = asked(self.processor, prompts, grammar)
        inputs = processed(self.processor, texts, prompts.images)
        moved = {name: value.to(self.device) for name, value in inputs.items()}
        with torch.no_grad() if self.vision_frozen else nullcontext():
            encoded = encoded_prompts(self.backbone, moved, tuple(len(images) for images in prompts.images))
        blocks = () if encoded.features is None else encoded.features.pooler_output
        if len(blocks) or self.lockstep.together:
            largest = [block.detach().abs().amax() for block in blocks] or [torch.zeros((), device=self.device)]
            self.headless.require_finite("Features of images", torch.stack(largest))
        return replace(encoded, questions=tuple(zip(texts, prompts.images, strict=True)))

    def grid(self, image: Float[Tensor, "3 H W"]) -> tuple[int, int]:
        """Rows and columns of the image tokens of an image that is alone in its prompt."""
        size = (image.shape[-2], image.shape[-1])
        if size not in self._grids:  # costs a run of the processor, and depends on the size alone
            self._grids[size] = token_grid(self.processor, *size)
        return self._grids[size]

    def hidden(self, continuations: Continuations, layout: Layout | None = None) -> Float[Tensor, "N T D"]:
        """The hidden states that predict each completion token; undefined outside the mask.

        Args:
            continuations: The completions and their prompts.
            layout: How they lie in rows; by default `self.layout`.

        Raises:
            NonFiniteError: If a state inside the mask is not finite.
        """
        tokens, mask = continuations.tokens, continuations.mask
        scorable = torch.where(self.scorable_mask(tokens, mask), tokens, self.pad_token_id)
        states = (layout or self.layout).hidden(self.headless, replace(continuations, tokens=scorable))
        self.headless.require_finite("Hidden states of completions", states.detach()[mask])
        return states

    def head(self, hidden: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
        """Logits, with -inf for placeholders."""
        logits = self.backbone.get_output_embeddings()(hidden)
        return logits.index_fill_(-1, self._forbidden, -torch.inf)  # a copy would be as large as the logits

    def micro_batches(self, continuations: Continuations, budget: int) -> list[MicroBatch]:
        """The continuations in parts of at most `budget` tokens, each for a pass of its own.

        Where ranks pass together, the last part is repeated until there are as many as on the rank that has most.
        """
        parts = self.layout.micro_batches(continuations, budget)
        repeated = replace(parts[-1], repeated=True)
        return parts + [repeated] * (self.lockstep.most(len(parts)) - len(parts))

    def score(
        self, continuations: Continuations, temperature: float = 1.0
    ) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        """Log-probability of each token and entropy of the distribution it was drawn from, in nats."""
        tokens = continuations.tokens
        scorable_mask = self.scorable_mask(tokens, continuations.mask)
        return token_statistics(self.hidden(continuations), self.head, tokens, scorable_mask, temperature)

    def scorable_mask(self, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Bool[Tensor, "N T"]:
        """The mask without placeholders, which the engine of another process may have sampled."""
        return mask & ~torch.isin(tokens, self._forbidden)

    def level_tokens(self, grammar: Grammar) -> Int[Tensor, "2 L"]:
        """The token of each level of the visual and of the reasoning confidence.

        Raises:
            UserError: If the tokenizer splits a level.
        """
        return torch.tensor(level_tokens(self.tokenizer, grammar), device=self.device)

    def response_tokens(self, text: str) -> list[int]:
        """The tokens of a response, or of its start, behind what the prompt has written of it."""
        tokens: list[int] = self.tokenizer.encode(behind(self.opening, text), add_special_tokens=False)
        return tokens

    def without_adapters(self) -> AbstractContextManager[None]:
        """A context in which the policy is as it started: its base, with the adapter it was given, if any."""
        if not isinstance(self.adapted, PeftModel):
            raise UserError(
                "`reference` AdapterOff needs adapters to switch off, and this policy learns its own weights; "
                "use FrozenCopy, or a LoRA adaptation."
            )
        return as_started(self.adapted)

    def save(self, folder: Path) -> None:
        """Write an ordinary checkpoint folder: weights (adapters alone, where there are some) and processor."""
        save_learned(self.adapted, folder, self.gathered)
        self.processor.save_pretrained(folder)

    def _anywhere(self, claim: bool) -> bool:
        return self.lockstep.any(claim)

    def _trial(self) -> Continuations:
        return trial_continuations(self.encode(trial_prompts(), Grammar(instructions="")), self.tokenizer)


def _warn_of_slow_dtype(dtype: torch.dtype) -> None:
    """Say so where this CPU has no instructions for a dtype: measured, since which ones count is up to the kernels."""
    slowdown = _product_seconds(dtype) / _product_seconds(torch.float32)
    if slowdown > SLOW:
        logger.warning(
            "%s takes %.0f times as long as float32 on this CPU, which has no instructions for it: set `dtype` of the "
            "policy to float32, or run on a GPU.",
            str(dtype).removeprefix("torch."),
            slowdown,
        )


def _product_seconds(dtype: torch.dtype) -> float:
    """Seconds of a matrix product of the size of a small layer, the best of a few."""
    rows, weights = torch.ones(32, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
    seconds = []
    for _ in range(5):
        start = perf_counter()
        rows @ weights
        seconds.append(perf_counter() - start)
    return min(seconds)


def _language_parts(model: PreTrainedModel) -> list[nn.Module]:
    """The parts whose weights the features of an image do not depend on."""
    return [part for part in (model.get_decoder(), model.get_output_embeddings()) if part is not None]
