"""The frozen records of one step, in order of appearance; each checks its lengths when it is made.

Letters: `P` prompts, `G` completions per prompt, `N = P * G` completions in prompt-major order (row `p * G + g`),
`T` completion tokens, padded on the right. A mask is True where a token counts; an absent confidence is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.errors import UserError
from vlcal.record_rows import ABSENT, check_rows, fill, mapped, taken

Extras = Mapping[str, Any]
AnswerVerifier = Callable[[str | None, str], float]  # of an answer, None where there is none, and a target


@dataclass(frozen=True)
class PromptBatch:
    """Questions about images, before anything was answered.

    Args:
        ids: One stable name per prompt; seeds everything random about it.
        images: For each prompt its images, none, one or many, each `(3, H, W)` in [0, 1].
        questions: The bare questions; the grammar adds the instructions.
        targets: The answers that count as right.
        extras: What the data set knows beyond that, for example the true reading of a scene. Never shown to the policy.
        verifiers: What checks the answer to each prompt; None where the run's own verifier does, as for all prompts by
            default.
    """

    ids: tuple[str, ...]
    images: tuple[tuple[Tensor, ...], ...]
    questions: tuple[str, ...]
    targets: tuple[str, ...]
    extras: tuple[Extras, ...]
    verifiers: tuple[AnswerVerifier | None, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "verifiers", self.verifiers or (None,) * len(self.ids))
        check_rows(self, len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: list[int]) -> PromptBatch:
        """The prompts at `rows`, in that order."""
        return PromptBatch(**{f.name: tuple(getattr(self, f.name)[row] for row in rows) for f in fields(self)})

    def to(self, device: torch.device | str) -> PromptBatch:
        """The batch itself, when Lightning asks: the policy moves what the processor makes of it."""
        return self

    def with_images(self, images: tuple[tuple[Tensor, ...], ...]) -> PromptBatch:
        """The same questions about other images."""
        return replace(self, images=images)


@dataclass(frozen=True)
class DemonstrationBatch:
    """Prompts with a completion to imitate each: what supervised warm-up learns from.

    Args:
        prompts: What is asked.
        completions: What is to be answered.
        given: Characters of each completion, (start, end), that are shown and not to be imitated; none by default.
    """

    prompts: PromptBatch
    completions: tuple[str, ...]
    given: tuple[tuple[tuple[int, int], ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", self.given or ((),) * len(self.completions))
        check_rows(self, len(self.prompts))

    def select(self, rows: list[int]) -> DemonstrationBatch:
        """The demonstrations at these rows."""
        return replace(self, **{f.name: taken(getattr(self, f.name), rows) for f in fields(self)})

    def to(self, device: torch.device | str) -> DemonstrationBatch:
        """The batch itself, when Lightning asks: the policy moves what the processor makes of it."""
        return self


@dataclass(frozen=True)
class Rollouts:
    """What the policy wrote.

    Args:
        tokens: Completion tokens, end token included, padded on the right.
        mask: True on every token of a completion, the end token included.
        log_probs: Log-probability each token was sampled with, at the temperature in force, in nats; 0 on forced ones.
        texts: The responses: what the prompt has opened of them, then the completions without end and padding tokens.
        truncated: True where the completion hit the length limit before its end token.
        group_size: Completions per prompt, `G`.
        forced: True on tokens that were given and not sampled, the first of a completion; by default none.
        counterfactual: True on completions that begin with a reading the policy did not choose; by default none.
        shared: True on the tokens up to the end of a reading that several completions continue; by default none.
    """

    tokens: Int[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    log_probs: Float[Tensor, "N T"]
    texts: tuple[str, ...]
    truncated: Bool[Tensor, " N"]
    group_size: int
    forced: Bool[Tensor, "N T"] = ABSENT
    counterfactual: Bool[Tensor, " N"] = ABSENT
    shared: Bool[Tensor, "N T"] = ABSENT

    def __post_init__(self) -> None:
        nowhere = torch.zeros_like(self.mask)
        fill(self, forced=nowhere, counterfactual=torch.zeros_like(self.truncated), shared=nowhere)
        check_rows(self, len(self.tokens), "group_size")
        if len(self.tokens) % self.group_size:
            raise UserError(f"`group_size` must divide the {len(self.tokens)} completions; got {self.group_size}.")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def chosen(self) -> Bool[Tensor, "N T"]:
        """True on every token that the policy chose: all that it is credited for."""
        return self.mask & ~self.forced


@dataclass(frozen=True)
class Spans:
    """Which tokens belong to which part of a response; all False where the part is absent."""

    vision: Bool[Tensor, "N T"]
    reasoning: Bool[Tensor, "N T"]
    answer: Bool[Tensor, "N T"]
    visual_confidence: Bool[Tensor, "N T"]
    reasoning_confidence: Bool[Tensor, "N T"]


@dataclass(frozen=True)
class Responses:
    """What the completions say, and whether it is right.

    Args:
        answers: The answer as written, None where there is none.
        well_formed: True where the text matches the whole grammar.
        correct: The verifier's verdict on the answer, in [0, 1].
        visual: Stated visual confidence in [0, 1]; NaN where absent.
        reasoning: Stated reasoning confidence in [0, 1]; NaN where absent.
        overall: Both joined into one; NaN where either is absent.
        perception_correct: 1 where the stated reading of the image is the true one, 0 where not, NaN where unknown.
        reasoning_correct: 1 where the answer follows from the stated reading, 0 where not, NaN where unknown.
        spans: Token masks of the parts.
    """

    answers: tuple[str | None, ...]
    well_formed: Bool[Tensor, " N"]
    correct: Float[Tensor, " N"]
    visual: Float[Tensor, " N"]
    reasoning: Float[Tensor, " N"]
    overall: Float[Tensor, " N"]
    perception_correct: Float[Tensor, " N"]
    reasoning_correct: Float[Tensor, " N"]
    spans: Spans

    def __post_init__(self) -> None:
        check_rows(self, len(self.answers), "spans")

    def __len__(self) -> int:
        return len(self.answers)


@dataclass(frozen=True)
class Evidence:
    """What was measured on each token, in nats, before anything is inferred from it.

    Args:
        log_probs: Log-probability of the token given the clean image, at the temperature it was sampled with.
        entropy: Entropy of the full next-token distribution given the clean image.
        visual_kl: KL of that distribution from the one given a perturbed image, over the full vocabulary,
            averaged over the perturbed copies; NaN throughout a response with nothing to perturb.
        plain_log_probs: Log-probability of the token given the clean image at temperature 1; NaN by default.
        perturbed_log_probs: The same given a perturbed image, averaged over the copies, on vision tokens alone; NaN
            throughout a response with nothing to perturb, and by default.
    """

    log_probs: Float[Tensor, "N T"]
    entropy: Float[Tensor, "N T"]
    visual_kl: Float[Tensor, "N T"]
    plain_log_probs: Float[Tensor, "N T"] = ABSENT
    perturbed_log_probs: Float[Tensor, "N T"] = ABSENT

    def __post_init__(self) -> None:
        unmeasured = torch.full_like(self.log_probs, torch.nan)
        fill(self, plain_log_probs=unmeasured, perturbed_log_probs=unmeasured)
        check_rows(self, len(self.log_probs))


@dataclass(frozen=True)
class Certainty:
    """How certain the policy was of what it saw and concluded, inferred from evidence without a label.

    Args:
        token: Soft label of each token in [0, 1]; 0.5, which means nothing either way, outside the vision part.
        response: Soft label of each response in [0, 1]; NaN where there is no vision part or nothing to see.
        score: What `response` was made from before it was normalised; comparable between batches.
        reasoning: Soft label of what each response concluded from what it saw, in [0, 1]; NaN where there is none, as
            by default.
    """

    token: Float[Tensor, "N T"]
    response: Float[Tensor, " N"]
    score: Float[Tensor, " N"]
    reasoning: Float[Tensor, " N"] = ABSENT

    def __post_init__(self) -> None:
        fill(self, reasoning=torch.full_like(self.response, torch.nan))
        check_rows(self, len(self.response))


@dataclass(frozen=True)
class Rewards:
    """Reward terms by name, as they came from each reward, and their weighted sum; NaN where there is no reward."""

    terms: Mapping[str, Float[Tensor, " N"]]
    total: Float[Tensor, " N"]


@dataclass(frozen=True)
class Assessment:
    """The responses to some prompts and all that is known of them: what validation, callbacks and probes are given."""

    prompts: PromptBatch
    rollouts: Rollouts
    responses: Responses
    evidence: Evidence
    certainty: Certainty
    rewards: Rewards

    def __len__(self) -> int:
        return len(self.rollouts)

    def select(self, rows: list[int]) -> Assessment:
        """The groups of the prompts at `rows`, in that order."""
        return self._taken(rows, self.completions_of(rows))

    def completions(self, rows: Int[Tensor, " n"]) -> Assessment:
        """Some completions, each as the only one of its prompt."""
        chosen, size = rows.tolist(), self.rollouts.group_size
        lone = replace(self, rollouts=replace(self.rollouts, group_size=1))
        return lone._taken([row // size for row in chosen], chosen)

    def completions_of(self, rows: list[int]) -> list[int]:
        """The rows of the completions of the prompts at `rows`."""
        size = self.rollouts.group_size
        return [row * size + member for row in rows for member in range(size)]

    def to(self, device: torch.device | str) -> Assessment:
        """The same assessment with every tensor on `device`; Lightning asks for it when it gathers predictions."""
        moved: Assessment = mapped(self, lambda tensor: tensor.to(device), lambda kept: kept)
        return moved

    def _taken(self, prompts: list[int], completions: list[int]) -> Assessment:
        parts = {f.name: taken(getattr(self, f.name), completions) for f in fields(self) if f.name != "prompts"}
        return Assessment(prompts=self.prompts.select(prompts), **parts)


@dataclass(frozen=True)
class Experience:
    """What one step learns from.

    Args:
        assessment: The responses.
        advantages: Of each token, reweighted and corrected for the probabilities it was sampled with.
    """

    assessment: Assessment
    advantages: Float[Tensor, "N T"]

    def select(self, rows: list[int]) -> Experience:
        """The groups of the prompts at `rows`, in that order."""
        advantages = taken(self.advantages, self.assessment.completions_of(rows))
        return Experience(self.assessment.select(rows), advantages)

    def completions(self, rows: Int[Tensor, " n"]) -> Experience:
        """Some completions, each as the only one of its prompt."""
        return Experience(self.assessment.completions(rows), self.advantages[rows])


@dataclass(frozen=True)
class PolicyUpdate:
    """A term of the loss and the metrics that explain it."""

    loss: Float[Tensor, ""]
    stats: Mapping[str, float]
