"""The policy: the only part that knows transformers and peft."""

from vlcal.policy.activations import Activations, KeptActivations, RecomputedActivations
from vlcal.policy.adaptation import Adaptation, Frozen, LanguageModel, LoRA, QLoRA, WholeModel
from vlcal.policy.engines.base import RolloutEngine, TransformersEngine
from vlcal.policy.engines.endpoint import Decoding, Endpoint
from vlcal.policy.engines.fed_back import FedBackCertainty
from vlcal.policy.engines.group import GroupEngine
from vlcal.policy.engines.server import Server
from vlcal.policy.engines.vllm import VLLMEngine
from vlcal.policy.layers import EveryLayer, LanguageAndProjectorLayers, LanguageLayers, Layers
from vlcal.policy.layouts.continuations import Continuations, MicroBatch
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.layouts.layout import UNLIMITED
from vlcal.policy.policy import Policy
from vlcal.policy.reference import AdapterOff, FrozenCopy, Reference
from vlcal.policy.spec import PolicySpec

__all__ = [
    "UNLIMITED",
    "Activations",
    "Adaptation",
    "AdapterOff",
    "Continuations",
    "Decoding",
    "EncodedPrompts",
    "Endpoint",
    "EveryLayer",
    "FedBackCertainty",
    "Frozen",
    "FrozenCopy",
    "GroupEngine",
    "KeptActivations",
    "LanguageAndProjectorLayers",
    "LanguageLayers",
    "LanguageModel",
    "Layers",
    "LoRA",
    "MicroBatch",
    "Policy",
    "PolicySpec",
    "QLoRA",
    "RecomputedActivations",
    "Reference",
    "RolloutEngine",
    "Server",
    "TransformersEngine",
    "VLLMEngine",
    "WholeModel",
]
