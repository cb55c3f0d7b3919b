"""Parts of a vision-language model, identified by module: names differ between families."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from vlcal.errors import UserError


class Layers(ABC):
    """Chooses the linear layers that get adapters; never the head, whose weights often are the embedding's too."""

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
        """The modules whose linear layers are chosen."""


class LanguageLayers(Layers):
    """The linear layers of the language model; image features stay as they are."""

    def modules(self, model: PreTrainedModel) -> Iterator[nn.Module]:
        """All modules of the decoder."""
        yield from decoder(model).modules()


class LanguageAndProjectorLayers(LanguageLayers):
    """The linear layers of the language model and of the projector: all outside the blocks of the vision tower."""

    def modules(self, model: PreTrainedModel) -> Iterator[nn.Module]:
        """All modules outside the blocks of the vision tower."""
        blocks = {id(inner) for block in checkpointable(model) for inner in block.modules()}
        yield from super().modules(model)
        yield from (module for module in model.modules() if id(module) not in blocks)


class EveryLayer(Layers):
    """The linear layers of the language model, of the projector and of the vision tower."""

    def modules(self, model: PreTrainedModel) -> Iterator[nn.Module]:
        """All modules."""
        yield from model.modules()


def decoder(model: PreTrainedModel) -> nn.Module:
    """The language model inside a vision-language model, without its head."""
    language = model.get_decoder()
    if not isinstance(language, nn.Module) or language is model:
        raise UserError(
            f"`path` must be a model whose `get_decoder` gives its language model, the part that is adapted; that of "
            f"{type(model).__name__} does not."
        )
    return language


def outside_decoder(model: PreTrainedModel) -> list[str]:
    """Names of the outermost modules outside the decoder (tower, projector), and of the head wherever it is."""
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
    """The blocks that support gradient checkpointing."""
    return [block for block in module.modules() if isinstance(block, GradientCheckpointingLayer)]


def _adaptable(module: nn.Module) -> bool:
    """True where the forward of the module runs; `nn.MultiheadAttention` reads the weights of its projection."""
    return isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear)
