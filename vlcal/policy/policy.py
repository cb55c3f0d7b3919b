"""The policy: a vision-language model that writes completions and is scored on them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from vlcal.functional.vocabulary import token_statistics
from vlcal.policy.adapters import as_started, save_learned
from vlcal.policy.encode import EncodedPrompts, encoded_prompts, placeholder_tokens, processor_inputs
from vlcal.policy.fitting import fitting_layout
from vlcal.policy.grid import token_grid
from vlcal.policy.micro_batch import MicroBatch, micro_batches
from vlcal.policy.packing import Layout
from vlcal.text import Grammar
from vlcal.types import PromptBatch


class Policy(nn.Module):
    """A vision-language model with its processor.

    Args:
        adapted: The model as it learns: `backbone` itself, or the adapter wrapper around it.
        backbone: The model that transformers loaded.
        processor: Its processor.
    """

    def __init__(self, adapted: nn.Module, backbone: PreTrainedModel, processor: ProcessorMixin) -> None:
        super().__init__()
        self.adapted = adapted
        self.__dict__["backbone"] = backbone  # part of `adapted`: registered twice, it would be saved twice
        self.processor = processor
        language = {id(weight) for part in _language_parts(backbone) for weight in part.parameters()}
        self.vision_frozen = not any(
            weight.requires_grad for weight in backbone.parameters() if id(weight) not in language
        )
        self._grids: dict[tuple[int, int], tuple[int, int]] = {}
        self.eval()  # loaded models are, fresh adapters and this wrapper are not; one mode for all

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
        """Tokens that stand for pictures: never sampled, never scored."""
        return placeholder_tokens(self.backbone, self.processor)

    @property
    def dtype(self) -> torch.dtype:
        """Of what passes between the layers."""
        return self.backbone.get_input_embeddings().weight.dtype

    @property
    def filler(self) -> int:
        """A token that may stand where nothing counts."""
        return self.tokenizer.pad_token_id

    @cached_property
    def layout(self) -> Layout:
        """How completions lie in rows: found out once, when the first pass asks, where the work is done."""
        return fitting_layout(self)

    def encode(self, prompts: PromptBatch, grammar: Grammar) -> EncodedPrompts:
        """The prompts, each image passed through the vision tower once; with gradient only where the tower learns."""
        inputs = {name: value.to(self.device) for name, value in self._processed(prompts, grammar).items()}
        with torch.no_grad() if self.vision_frozen else nullcontext():
            return encoded_prompts(self.backbone, inputs, tuple(len(images) for images in prompts.images))

    def grid(self, image: Float[Tensor, "3 H W"]) -> tuple[int, int]:
        """Rows and columns of the image tokens that the model makes of an image alone in its prompt."""
        size = (image.shape[-2], image.shape[-1])
        if size not in self._grids:  # the processor resizes and cuts pixels to find it, and only the size matters
            self._grids[size] = token_grid(self.processor, *size)
        return self._grids[size]

    def hidden(
        self,
        encoded: EncodedPrompts,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        owners: Int[Tensor, " N"] | None = None,
    ) -> Float[Tensor, "N T D"]:
        """The hidden states that predict each completion token; what stands outside the mask means nothing.

        Args:
            encoded: The prompts.
            tokens: Completions, padded on the right.
            mask: True on the tokens of each completion.
            owners: The prompt that each completion continues, in rising order; by default every prompt has as many
                completions, prompt by prompt.
        """
        if owners is None:
            owners = torch.arange(len(encoded), device=tokens.device).repeat_interleave(len(tokens) // len(encoded))
        harmless = torch.where(self.countable(tokens, mask), tokens, self.filler)
        return self.layout.hidden(self, encoded, harmless, mask, owners)

    def head(self, hidden: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
        """Logits, with -inf for tokens that stand for pictures."""
        logits = self.backbone.get_output_embeddings()(hidden)
        return logits.index_fill(-1, torch.tensor(self.placeholders, device=logits.device), -torch.inf)

    def micro_batches(self, encoded: EncodedPrompts, mask: Bool[Tensor, "N T"], budget: int) -> list[MicroBatch]:
        """The completions of all prompts, in parts of `budget` tokens that go through the model at once."""
        return micro_batches(self.layout, encoded, mask, budget)

    def score(
        self,
        encoded: EncodedPrompts,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        temperature: float = 1.0,
        owners: Int[Tensor, " N"] | None = None,
    ) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        """Log-probability of each token and entropy of the distribution it came from, in nats."""
        hidden = self.hidden(encoded, tokens, mask, owners)
        return token_statistics(hidden, self.head, tokens, self.countable(tokens, mask), temperature)

    def countable(self, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Bool[Tensor, "N T"]:
        """The mask without tokens that stand for pictures, which another engine may have let through."""
        return mask & ~torch.isin(tokens, torch.tensor(self.placeholders, device=tokens.device))

    def level_tokens(self, grammar: Grammar) -> Int[Tensor, " L"]:
        """The token of each confidence level.

        Raises:
            ValueError: If a level takes several tokens.
        """
        ids = [self.tokenizer.encode(str(level), add_special_tokens=False) for level in grammar.levels]
        long = [level for level, pieces in zip(grammar.levels, ids, strict=True) if len(pieces) != 1]
        if long:
            raise ValueError(
                f"`grammar.levels` must be one token each to take an expectation over them; this tokenizer splits "
                f"{long}. Use levels 0 to 9, or SampledConfidence."
            )
        return torch.tensor([pieces[0] for pieces in ids], device=self.device)

    def without_adapters(self) -> AbstractContextManager[None]:
        """A context in which the policy is what it started from: its base, with the adapter it was given if any."""
        if not isinstance(self.adapted, PeftModel):
            raise ValueError(
                "`reference` AdapterOff needs adapters to switch off, and this policy learns its own weights; "
                "use FrozenCopy, or a LoRA adaptation."
            )
        return as_started(self.adapted)

    def save(self, folder: Path) -> None:
        """Write an ordinary checkpoint folder: weights (adapters alone, where there are some) and processor."""
        save_learned(self.adapted, folder)
        self.processor.save_pretrained(folder)

    def _processed(self, prompts: PromptBatch, grammar: Grammar) -> dict[str, Tensor]:
        return processor_inputs(self.processor, prompts, grammar)


def _language_parts(model: PreTrainedModel) -> list[nn.Module]:
    """The parts whose weights the features of an image do not depend on."""
    return [part for part in (model.get_decoder(), model.get_output_embeddings()) if part is not None]
