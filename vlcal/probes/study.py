"""A study: responses with the policy and the prompts that they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Int
from torch import Tensor

from vlcal.policy import UNLIMITED, EncodedPrompts, Policy, RolloutEngine
from vlcal.text import Grammar
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import draw_seed
from vlcal.types import Assessment, PromptBatch, Responses


@dataclass(frozen=True)
class Study:
    """Responses with the policy and the prompts that they come from, for further sampling and scoring.

    Args:
        policy: It sampled the responses; in evaluation mode.
        pipeline: It reads responses.
        engine: It sampled the responses.
        assessment: Prompts and responses, one or several per prompt.
        encoded: The prompts, encoded.
        seed: Of all random draws.
        budget: Tokens of a forward pass, prompts included.
    """

    policy: Policy
    pipeline: Pipeline
    engine: RolloutEngine
    assessment: Assessment
    encoded: EncodedPrompts
    seed: int
    budget: int = UNLIMITED

    @property
    def grammar(self) -> Grammar:
        """The grammar of the responses."""
        return self.pipeline.reader.grammar

    @property
    def prompt_index(self) -> list[int]:
        """The prompt of each response."""
        size = self.assessment.rollouts.group_size
        return [row // size for row in range(len(self.assessment))]

    def of(self, rows: Int[Tensor, " n"]) -> Study:
        """The study of some responses, each as the only one of its prompt."""
        owners = [self.prompt_index[row] for row in rows.tolist()]
        return replace(self, assessment=self.assessment.completions(rows), encoded=self.encoded.select(owners))

    def draw_seeds(self, what: str) -> list[int]:
        """The seed of one random draw for each prompt, whatever the others; `what` names the draw."""
        return [draw_seed(self.seed, what, name) for name in self.assessment.prompts.ids]

    def answers_to(self, prompts: PromptBatch, what: str, samples: int | None = None) -> Responses:
        """New responses, sampled as the others were, to the same prompts or to altered ones.

        Args:
            prompts: Altered prompts, in the same order.
            what: Names the draw.
            samples: Responses per prompt; by default as many as there are.
        """
        size = self.assessment.rollouts.group_size if samples is None else samples
        encoded = self.policy.encode(prompts, self.grammar)
        rollouts = self.engine.sample(self.policy, encoded, size, self.draw_seeds(what))
        return self.pipeline.reader.read(self.policy, prompts, rollouts)


def without_images(prompts: PromptBatch) -> PromptBatch:
    """The same questions without their images."""
    return replace(prompts, images=((),) * len(prompts))
