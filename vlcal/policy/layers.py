"""Where the layers of a vision-language model are: found by module, never by a name, which differs between families."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


class Layers(ABC):
    """Chooses the linear layers that get adapters. The head never does: it often is the embedding too."""

    def of(self, model: PreTrainedModel) -> dict[str, nn.Linear]:
        """The chosen layers by their names."""
        chosen, head = {id(module) for module in self.modules(model)}, model.get_output_embeddings()
        return {
            name: module
            for name, module in model.named_modules()
            if id(module) in chosen and module is not head and _adaptable(module)
        }

    @abstractmethod
    def modules(self, model: PreTrainedModel) -> Iterator[nn.Module]:
        """The modules to look for linear layers among."""


class LanguageLayers(Layers):
    """The linear layers of the language model; what an image looks like to it stays as it is."""

    def modules(self, model: PreTrainedModel) -> Iterator[nn.Module]:
        """Everything in the decoder."""
        yield from decoder(model).modules()


class LanguageAndProjectorLayers(LanguageLayers):
    """The linear layers of the language model and of the projector, which are those outside the tower's blocks."""

    def modules(self, model: PreTrainedModel) -> Iterator[nn.Module]:
        """Everything but the blocks of the vision tower."""
        blocks = {id(inner) for block in checkpointable(model) for inner in block.modules()}
        yield from super().modules(model)
        yield from (module for module in model.modules() if id(module) not in blocks)


class EveryLayer(Layers):
    """The linear layers of the language model, of the projector and of the vision tower."""

    def modules(self, model: PreTrainedModel) -> Iterator[nn.Module]:
        """Everything."""
        yield from model.modules()


def decoder(model: PreTrainedModel) -> nn.Module:
    """The language model inside a vision-language model, without its head."""
    found = model.get_decoder()
    if not isinstance(found, nn.Module) or found is model:
        raise ValueError(f"`{type(model).__name__}` names no decoder of its own, so there is nothing to adapt.")
    return found


def outside_decoder(model: PreTrainedModel) -> list[str]:
    """Names of the topmost modules outside the decoder, and of the head wherever it is: tower, projector, head."""
    language, head = decoder(model), model.get_output_embeddings()
    above = {id(module) for module in model.modules() if any(inner is language for inner in module.modules())}

    def walk(module: nn.Module, prefix: str) -> Iterator[str]:
        for name, child in module.named_children():
            if id(child) not in above:
                yield prefix + name
            elif child is not language:
                yield from walk(child, f"{prefix}{name}.")

    return [*walk(model, ""), *(name for name, module in language.named_modules() if module is head)]


def checkpointable(module: nn.Module) -> list[GradientCheckpointingLayer]:
    """The blocks of a decoder or a tower whose activations can be recomputed."""
    return [block for block in module.modules() if isinstance(block, GradientCheckpointingLayer)]


def _adaptable(module: nn.Module) -> bool:
    """Whether it multiplies by itself; the projection in `nn.MultiheadAttention` is only read by its parent."""
    return isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear)
