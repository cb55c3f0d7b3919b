"""Responses under study, with what wrote them, so that more can be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vlcal.pipeline import Pipeline, draw_seed
from vlcal.policy import EncodedPrompts, Policy, RolloutEngine
from vlcal.policy.micro_batch import UNLIMITED
from vlcal.text import Grammar
from vlcal.types import Experience, PromptBatch, Responses


@dataclass(frozen=True)
class Study:
    """Responses, with what wrote them, so that more can be asked.

    Args:
        policy: What wrote the responses, not in training mode.
        pipeline: How responses are read.
        engine: How the responses were sampled.
        experience: Prompts and responses, one or several per prompt.
        encoded: The prompts as the model takes them.
        seed: Of everything drawn.
        budget: Tokens that go through the model at once when a text is read, prompts included.
    """

    policy: Policy
    pipeline: Pipeline
    engine: RolloutEngine
    experience: Experience
    encoded: EncodedPrompts
    seed: int
    budget: int = UNLIMITED

    @property
    def grammar(self) -> Grammar:
        """The form of the responses."""
        return self.pipeline.reader.grammar

    @property
    def owners(self) -> list[int]:
        """The prompt of each response."""
        size = self.experience.rollouts.group_size
        return [row // size for row in range(len(self.experience))]

    def draw_seed(self, what: str) -> int:
        """A seed for one draw about these prompts; `what` names the draw, so that two of them differ."""
        return draw_seed(self.seed, what, *self.experience.prompts.ids)

    def answers_to(self, prompts: PromptBatch, what: str, samples: int | None = None) -> Responses:
        """New responses, sampled as the others were, to the same prompts or to altered ones.

        Args:
            prompts: Altered prompts, in the same order.
            what: Names the draw.
            samples: Responses per prompt; by default as many as there are.
        """
        size = self.experience.rollouts.group_size if samples is None else samples
        encoded = self.policy.encode(prompts, self.grammar)
        rollouts = self.engine.sample(self.policy, encoded, size, self.draw_seed(what))
        return self.pipeline.reader.read(self.policy, prompts, rollouts)


def without_images(prompts: PromptBatch) -> PromptBatch:
    """The same questions with nothing to look at."""
    return replace(prompts, images=((),) * len(prompts))
