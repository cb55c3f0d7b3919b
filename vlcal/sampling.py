"""How many completions, and how they are sampled, in training and in validation."""

from __future__ import annotations

from vlcal.objectives import NoCorrection, SamplerCorrection
from vlcal.policy import GroupEngine, RolloutEngine


class Sampling:
    """Engines and sizes of one step.

    Args:
        group_size: Completions per prompt in training, `G`, at least 2.
        minibatch_prompts: Prompts whose groups go through one update together; as many as memory allows.
        training: Engine that samples what is learned from.
        validation: Engine that samples the one completion per prompt that is judged.
        seed: Of everything drawn in a step, together with the step and the prompt.
        token_budget: Tokens that go through the model at once, prompts and completions together. Memory follows it;
            what is learned does not. A group that is longer is cut.
        correction: What is done about completions that were sampled with other probabilities than are learned on.
    """

    def __init__(
        self,
        group_size: int = 8,
        minibatch_prompts: int = 1_000_000,
        training: RolloutEngine = GroupEngine(),
        validation: RolloutEngine = GroupEngine(),
        seed: int = 0,
        token_budget: int = 16384,
        correction: SamplerCorrection = NoCorrection(),
    ) -> None:
        if group_size < 2:
            raise ValueError(
                f"`group_size` must be at least 2, since a lone completion has no baseline; got {group_size}."
            )
        if minibatch_prompts < 1:
            raise ValueError(
                f"`minibatch_prompts` must be at least 1, or nothing is learned from; got {minibatch_prompts}."
            )
        if token_budget < 1:
            raise ValueError(f"`token_budget` must be at least 1 token, or nothing passes; got {token_budget}.")
        self.group_size = group_size
        self.minibatch_prompts = minibatch_prompts
        self.training = training
        self.validation = validation
        self.seed = seed
        self.token_budget = token_budget
        self.correction = correction
