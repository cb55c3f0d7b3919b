"""The policy: the only part that knows transformers and peft."""

from vlcal.policy.activations import Activations, KeptActivations, RecomputedActivations
from vlcal.policy.adaptation import Adaptation, Frozen, LanguageModel, LoRA, QLoRA, WholeModel
from vlcal.policy.encode import EncodedPrompts
from vlcal.policy.endpoint import Decoding, Endpoint
from vlcal.policy.group_engine import GroupEngine
from vlcal.policy.layers import EveryLayer, LanguageAndProjectorLayers, LanguageLayers, Layers
from vlcal.policy.micro_batch import MicroBatch
from vlcal.policy.policy import Policy
from vlcal.policy.reference import AdapterOff, FrozenCopy, Reference
from vlcal.policy.rollout import RolloutEngine, TransformersEngine
from vlcal.policy.spec import PolicySpec

__all__ = [
    "Activations",
    "Adaptation",
    "AdapterOff",
    "Decoding",
    "EncodedPrompts",
    "Endpoint",
    "EveryLayer",
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
    "TransformersEngine",
    "WholeModel",
]
