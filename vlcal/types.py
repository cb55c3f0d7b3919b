"""The frozen records of one step, in order of appearance.

Letters: `P` prompts, `G` completions per prompt, `N = P * G` completions in prompt-major order (row `p * G + g`),
`T` completion tokens, padded on the right. A mask is True where a token counts; an absent confidence is NaN, never 0.
Every record checks its own lengths once, when it is made, so that no later stage has to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.errors import UserError

Extras = Mapping[str, Any]
AnswerVerifier = Callable[[str | None, str], float]  # of an answer, None where there is none, and a target


def _check_rows(record: Any, expected: int, *apart: str) -> None:
    """Refuse a record whose fields, but for those set apart, disagree about how many rows there are."""
    for name in (f.name for f in fields(record) if f.name not in apart):
        if (length := len(getattr(record, name))) != expected:
            raise UserError(
                f"`{type(record).__name__}.{name}` must hold {expected} rows like its siblings; got {length}."
            )


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
        _check_rows(self, len(self.ids))

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
    """Prompts with a completion to imitate each: what supervised warm-up learns from."""

    prompts: PromptBatch
    completions: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_rows(self, len(self.prompts))

    def to(self, device: torch.device | str) -> DemonstrationBatch:
        """The batch itself, when Lightning asks: the policy moves what the processor makes of it."""
        return self


@dataclass(frozen=True)
class Rollouts:
    """What the policy wrote.

    Args:
        tokens: Completion tokens, end token included, padded on the right.
        mask: True on every token the policy chose, the end token included.
        log_probs: Log-probability each token was sampled with, at the temperature in force, in nats.
        texts: The responses: what the prompt has opened of them, then the completions without end and padding tokens.
        truncated: True where the completion hit the length limit before its end token.
        group_size: Completions per prompt, `G`.
    """

    tokens: Int[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    log_probs: Float[Tensor, "N T"]
    texts: tuple[str, ...]
    truncated: Bool[Tensor, " N"]
    group_size: int

    def __post_init__(self) -> None:
        _check_rows(self, len(self.tokens), "group_size")
        if len(self.tokens) % self.group_size:
            raise UserError(
                f"`group_size` must divide the number of completions; got {self.group_size} for {len(self.tokens)}."
            )

    def __len__(self) -> int:
        return len(self.tokens)


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
        _check_rows(self, len(self.answers), "spans")

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
    """

    log_probs: Float[Tensor, "N T"]
    entropy: Float[Tensor, "N T"]
    visual_kl: Float[Tensor, "N T"]


@dataclass(frozen=True)
class Certainty:
    """How certain the policy was of what it saw, inferred from evidence without a label.

    Args:
        token: Soft label of each token in [0, 1]; 0.5, which means nothing either way, outside the vision part.
        response: Soft label of each response in [0, 1]; NaN where there is no vision part or nothing to see.
        score: What `response` was made from before it was normalised; comparable between batches.
    """

    token: Float[Tensor, "N T"]
    response: Float[Tensor, " N"]
    score: Float[Tensor, " N"]


@dataclass(frozen=True)
class Rewards:
    """Reward terms by name, as they came from each reward, and their weighted sum; NaN where there is no reward."""

    terms: Mapping[str, Float[Tensor, " N"]]
    total: Float[Tensor, " N"]


@dataclass(frozen=True)
class Assessment:
    """The responses to some prompts and all that is known of them: what validation, callbacks and probes are given.

    Rewards belong to it because they follow from a response and its certainty alone: an evaluation shows what training
    would have paid, at the cost of a few sums. The endpoint of a model without rewards has no terms.
    """

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
        moved: Assessment = _mapped(self, lambda tensor: tensor.to(device), lambda kept: kept)
        return moved

    def _taken(self, prompts: list[int], completions: list[int]) -> Assessment:
        parts = {f.name: _take(getattr(self, f.name), completions) for f in fields(self) if f.name != "prompts"}
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
        advantages = _take(self.advantages, self.assessment.completions_of(rows))
        return Experience(self.assessment.select(rows), advantages)

    def completions(self, rows: Int[Tensor, " n"]) -> Experience:
        """Some completions, each as the only one of its prompt."""
        return Experience(self.assessment.completions(rows), self.advantages[rows])


@dataclass(frozen=True)
class PolicyUpdate:
    """A term of the loss and the metrics that explain it."""

    loss: Float[Tensor, ""]
    stats: Mapping[str, float]


def _take(value: Any, rows: list[int]) -> Any:
    """The given rows of a field of a record."""
    return _mapped(
        value,
        lambda tensor: tensor[torch.tensor(rows, device=tensor.device)],
        lambda items: tuple(items[row] for row in rows),
    )


def _mapped(value: Any, of_tensor: Callable[[Tensor], Tensor], of_tuple: Callable[[Any], Any]) -> Any:
    """The value with every tensor and every tuple in it replaced, through mappings and records."""
    if isinstance(value, Tensor):
        return of_tensor(value)
    if isinstance(value, tuple):
        return of_tuple(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, of_tensor, of_tuple) for name, item in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), of_tensor, of_tuple) for f in fields(value)})  # type: ignore[type-var]
    return value
