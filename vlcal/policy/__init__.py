"""The policy: the only part that knows transformers, peft and bitsandbytes."""

from vlcal.policy.adaptation import Adaptation, Frozen, LanguageModel, LoRA, QLoRA, WholeModel
from vlcal.policy.encode import EncodedPrompts
from vlcal.policy.policy import Policy
from vlcal.policy.reference import AdapterOff, FrozenCopy, Reference
from vlcal.policy.rollout import RolloutEngine, TransformersEngine
from vlcal.policy.spec import PolicySpec

__all__ = [
    "Adaptation",
    "AdapterOff",
    "EncodedPrompts",
    "Frozen",
    "FrozenCopy",
    "LanguageModel",
    "LoRA",
    "Policy",
    "PolicySpec",
    "QLoRA",
    "Reference",
    "RolloutEngine",
    "TransformersEngine",
    "WholeModel",
]
