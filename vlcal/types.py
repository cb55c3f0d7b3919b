"""The frozen records of one step, in order of appearance.

Letters: `P` prompts, `G` completions per prompt, `N = P * G` completions in prompt-major order (row `p * G + g`),
`T` completion tokens, padded on the right. A mask is True where a token counts; an absent confidence is NaN, never 0.
Every record checks its own lengths once, when it is made, so that no later stage has to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Extras = Mapping[str, Any]


def _same_length(record: object, expected: int, **lengths: int) -> None:
    """Refuse a record whose parts disagree about how many rows there are."""
    for name, length in lengths.items():
        if length != expected:
            raise ValueError(
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
    """

    ids: tuple[str, ...]
    images: tuple[tuple[Tensor, ...], ...]
    questions: tuple[str, ...]
    targets: tuple[str, ...]
    extras: tuple[Extras, ...]

    def __post_init__(self) -> None:
        _same_length(
            self,
            len(self.ids),
            images=len(self.images),
            questions=len(self.questions),
            targets=len(self.targets),
            extras=len(self.extras),
        )

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
        _same_length(self, len(self.prompts), completions=len(self.completions))

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
        texts: The completions as text, without end and padding tokens.
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
        _same_length(
            self,
            len(self.tokens),
            mask=len(self.mask),
            log_probs=len(self.log_probs),
            texts=len(self.texts),
            truncated=len(self.truncated),
        )
        if len(self.tokens) % self.group_size:
            raise ValueError(
                f"`group_size` must divide the number of completions; got {self.group_size} for {len(self.tokens)}."
            )

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def prompts(self) -> int:
        """The number of prompts, `P`."""
        return len(self.tokens) // self.group_size


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
    """What the completions say, and whether it is so.

    Args:
        answers: The answer as written, None where there is none.
        well_formed: True where the text matches the whole grammar.
        correct: The verifier's verdict on the answer, in [0, 1].
        visual: Stated visual confidence in [0, 1]; NaN where absent.
        reasoning: Stated reasoning confidence in [0, 1]; NaN where absent.
        overall: Both joined into one; NaN where either is absent.
        read_right: 1 where the stated reading of the image is the true one, 0 where not, NaN where nobody knows.
        reasoned_right: 1 where the answer follows from the stated reading, 0 where not, NaN where nobody knows.
        spans: Token masks of the parts.
    """

    answers: tuple[str | None, ...]
    well_formed: Bool[Tensor, " N"]
    correct: Float[Tensor, " N"]
    visual: Float[Tensor, " N"]
    reasoning: Float[Tensor, " N"]
    overall: Float[Tensor, " N"]
    read_right: Float[Tensor, " N"]
    reasoned_right: Float[Tensor, " N"]
    spans: Spans

    def __post_init__(self) -> None:
        rows = {f.name: len(getattr(self, f.name)) for f in fields(self) if f.name != "spans"}
        _same_length(self, len(self.answers), **rows)

    def __len__(self) -> int:
        return len(self.answers)


@dataclass(frozen=True)
class Evidence:
    """What was measured on each token, in nats, before anything is inferred from it.

    Args:
        log_probs: Log-probability of the token given the clean image, at the temperature it was sampled with.
        entropy: Entropy of the full next-token distribution given the clean image.
        visual_kl: KL of that distribution from the one given a perturbed image, over the full vocabulary,
            averaged over the perturbed copies.
    """

    log_probs: Float[Tensor, "N T"]
    entropy: Float[Tensor, "N T"]
    visual_kl: Float[Tensor, "N T"]


@dataclass(frozen=True)
class Certainty:
    """How sure the policy was of what it saw, inferred from evidence, with no label.

    Args:
        token: Soft label of each token in [0, 1]; 0.5, which means nothing either way, outside the vision part.
        response: Soft label of each response in [0, 1]; NaN where the response has no vision part.
        score: What `response` was made from before it was normalised; comparable between batches.
    """

    token: Float[Tensor, "N T"]
    response: Float[Tensor, " N"]
    score: Float[Tensor, " N"]


@dataclass(frozen=True)
class Rewards:
    """Reward terms by name, as they came from each reward, and their weighted sum."""

    terms: Mapping[str, Float[Tensor, " N"]]
    total: Float[Tensor, " N"]


@dataclass(frozen=True)
class PolicyUpdate:
    """A loss to descend and the figures that explain it."""

    loss: Float[Tensor, ""]
    stats: Mapping[str, float]


@dataclass(frozen=True)
class Experience:
    """Everything one step collected, ready to learn from.

    Args:
        advantages: Per token, after reweighting.
        reference_log_probs: Of the same tokens under the reference, or None where no objective asks for them.
    """

    prompts: PromptBatch
    rollouts: Rollouts
    responses: Responses
    evidence: Evidence
    certainty: Certainty
    rewards: Rewards
    advantages: Float[Tensor, "N T"]
    reference_log_probs: Float[Tensor, "N T"] | None

    def __len__(self) -> int:
        return len(self.rollouts)

    def select(self, rows: list[int]) -> Experience:
        """The groups of the prompts at `rows`, in that order."""
        size = self.rollouts.group_size
        completions = [row * size + member for row in rows for member in range(size)]
        return Experience(
            prompts=self.prompts.select(rows),
            **{f.name: _take(getattr(self, f.name), completions) for f in fields(self) if f.name != "prompts"},
        )

    def completions(self, rows: Int[Tensor, " n"]) -> Experience:
        """Some completions, each as the only one of its prompt."""
        chosen = rows.tolist()
        owners = [row // self.rollouts.group_size for row in chosen]
        lone = replace(self, rollouts=replace(self.rollouts, group_size=1))
        taken = {f.name: _take(getattr(lone, f.name), chosen) for f in fields(lone) if f.name != "prompts"}
        return Experience(prompts=self.prompts.select(owners), **taken)

    def to(self, device: torch.device | str) -> Experience:
        """The same experience with every tensor on `device`; Lightning asks for it when it gathers predictions."""
        moved: Experience = _moved(self, device)
        return moved


def _moved(value: Any, device: torch.device | str) -> Any:
    """The value with every tensor inside it on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    if isinstance(value, Mapping):
        return {name: _moved(item, device) for name, item in value.items()}
    if is_dataclass(value) and type(value).__module__ == __name__:
        return replace(value, **{f.name: _moved(getattr(value, f.name), device) for f in fields(value)})  # type: ignore[type-var]
    return value


def _take(value: Any, rows: list[int]) -> Any:
    """The given rows of whatever a record holds: tensors, tuples, mappings, other records."""
    if isinstance(value, Tensor):
        return value[torch.tensor(rows, device=value.device)]
    if isinstance(value, tuple):
        return tuple(value[row] for row in rows)
    if isinstance(value, Mapping):
        return {name: _take(item, rows) for name, item in value.items()}
    if value is None or isinstance(value, int):
        return value
    return type(value)(**{f.name: _take(getattr(value, f.name), rows) for f in fields(value)})
