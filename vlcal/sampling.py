"""How many completions, and how they are sampled, in training and in validation."""

from __future__ import annotations

from vlcal.policy import RolloutEngine, TransformersEngine


class Sampling:
    """Engines and sizes of one step.

    Args:
        group_size: Completions per prompt in training, `G`, at least 2.
        minibatch_prompts: Prompts whose groups go through one update together; as many as memory allows.
        training: Engine that samples what is learned from.
        validation: Engine that samples the one completion per prompt that is judged.
        seed: Of everything drawn in a step, together with the step and the prompt.
    """

    def __init__(
        self,
        group_size: int = 8,
        minibatch_prompts: int = 1_000_000,
        training: RolloutEngine = TransformersEngine(),
        validation: RolloutEngine = TransformersEngine(),
        seed: int = 0,
    ) -> None:
        if group_size < 2:
            raise ValueError(
                f"`group_size` must be at least 2, since a lone completion has no baseline; got {group_size}."
            )
        if minibatch_prompts < 1:
            raise ValueError(
                f"`minibatch_prompts` must be at least 1, or nothing is learned from; got {minibatch_prompts}."
            )
        self.group_size = group_size
        self.minibatch_prompts = minibatch_prompts
        self.training = training
        self.validation = validation
        self.seed = seed
