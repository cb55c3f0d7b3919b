"""The policy: a vision-language model that writes completions and is scored on them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from vlcal.functional.vocabulary import token_statistics
from vlcal.policy.encode import EncodedPrompts, processor_inputs
from vlcal.text import Grammar
from vlcal.types import PromptBatch

# Marks of pictures in a prompt. A sampled one would be taken for a picture that is not there.
PLACEHOLDERS = ("image_token_id", "video_token_id", "audio_token_id", "vision_start_token_id", "vision_end_token_id")


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

    @property
    def placeholders(self) -> list[int]:
        """Tokens that stand for pictures: never sampled, never scored."""
        found = {getattr(self.backbone.config, name, None) for name in PLACEHOLDERS}
        return sorted(token for token in found if token is not None)

    def encode(self, prompts: PromptBatch, grammar: Grammar) -> EncodedPrompts:
        """The prompts, each image passed through the vision tower once; with gradient only where the tower learns."""
        inputs = {name: value.to(self.device) for name, value in self._processed(prompts, grammar).items()}
        pixels = inputs.pop("pixel_values", None)
        grids = {name: inputs.pop(name) for name in ("image_grid_thw",) if name in inputs}
        features = None
        if pixels is not None:
            with torch.no_grad() if self.vision_frozen else nullcontext():
                features = self.backbone.get_image_features(pixels, **grids, return_dict=True)
            features = type(features)(**{k: v for k, v in features.items() if k != "last_hidden_state"})
        return EncodedPrompts(inputs, grids, features, tuple(len(images) for images in prompts.images))

    def grid(self, image: Float[Tensor, "3 H W"]) -> tuple[int, int]:
        """Rows and columns of the merged patches, one image token each, that the model makes of an image."""
        size = (image.shape[-2], image.shape[-1])
        if size not in self._grids:  # the processor resizes and cuts pixels to find it, and only the size matters
            merge = self.processor.image_processor.merge_size
            found = self.processor.image_processor([image], do_rescale=False, return_tensors="pt")["image_grid_thw"][0]
            self._grids[size] = int(found[1]) // merge, int(found[2]) // merge
        return self._grids[size]

    def hidden(
        self, encoded: EncodedPrompts, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]
    ) -> Float[Tensor, "N T D"]:
        """The hidden states that predict each completion token."""
        rows = encoded.repeat(len(tokens) // len(encoded))
        harmless = torch.where(self.countable(tokens, mask), tokens, self.tokenizer.pad_token_id)
        inputs = rows.model_inputs()
        inputs["input_ids"] = torch.cat([inputs["input_ids"], harmless], 1)
        inputs["attention_mask"] = torch.cat([inputs["attention_mask"], mask.to(inputs["attention_mask"].dtype)], 1)
        if (types := inputs.get("mm_token_type_ids")) is not None:
            inputs["mm_token_type_ids"] = torch.cat([types, types.new_zeros(tokens.shape)], 1)
        states = self.backbone.base_model(**inputs, use_cache=False).last_hidden_state
        return states[:, encoded.length - 1 : -1]

    def head(self, hidden: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
        """Logits, with -inf for tokens that stand for pictures."""
        logits = self.backbone.get_output_embeddings()(hidden)
        return logits.index_fill(-1, torch.tensor(self.placeholders, device=logits.device), -torch.inf)

    def score(
        self, encoded: EncodedPrompts, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"], temperature: float = 1.0
    ) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        """Log-probability of each token and entropy of the distribution it came from, in nats."""
        hidden = self.hidden(encoded, tokens, mask)
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
        """A context in which the policy is the model it started from."""
        if not isinstance(self.adapted, PeftModel):
            raise ValueError(
                "`reference` AdapterOff needs adapters to switch off, and this policy learns its own weights; "
                "use FrozenCopy, or a LoRA adaptation."
            )
        switched_off: AbstractContextManager[None] = self.adapted.disable_adapter()
        return switched_off

    def save(self, folder: Path) -> None:
        """Write an ordinary checkpoint folder: weights (adapters alone, where there are some) and processor."""
        self.adapted.save_pretrained(folder)  # type: ignore[operator]
        self.processor.save_pretrained(folder)

    def _processed(self, prompts: PromptBatch, grammar: Grammar) -> dict[str, Tensor]:
        return processor_inputs(self.processor, prompts, grammar)


def _language_parts(model: PreTrainedModel) -> list[nn.Module]:
    """The parts whose weights the features of an image do not depend on."""
    return [part for part in (model.get_decoder(), model.get_output_embeddings()) if part is not None]
