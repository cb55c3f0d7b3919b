"""The LightningModules: they own the weights, the optimizer step and the names in the log."""

from vlcal.modules.endpoint import EndpointModule
from vlcal.modules.policy_module import PolicyModule
from vlcal.modules.reinforcement import ReinforcementModule
from vlcal.modules.sharded import ShardedStrategy
from vlcal.modules.supervised import SupervisedModule

__all__ = ["EndpointModule", "PolicyModule", "ReinforcementModule", "ShardedStrategy", "SupervisedModule"]
