"""The family of engines that sample completions from the policy, and the one that uses `generate`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from vlcal.errors import UserError
from vlcal.policy.adapters import prepared_adapters
from vlcal.policy.engines.draws import drawn, uniform_numbers
from vlcal.policy.engines.starts import ForcedStarts
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.policy import Policy
from vlcal.record_rows import ABSENT
from vlcal.text import Span
from vlcal.text.spans import token_offsets
from vlcal.types import Rollouts


class RolloutEngine(ABC):
    """Samples `group_size` completions for every prompt of a batch.

    Args:
        temperature: Divides the logits; 1 samples from the policy itself. Scoring for the update uses the same.

    Attributes:
        forces_starts: Whether completions can be made to begin with given tokens.
    """

    forces_starts = True

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise UserError(f"`temperature` must be above 0; got {temperature}. Near 0 it is greedy decoding.")
        self.temperature = temperature

    @abstractmethod
    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        """Completions in prompt-major order.

        Args:
            policy: What samples.
            encoded: The prompts.
            group_size: Completions of each prompt.
            seeds: Of each prompt. The same seed gives the same completions, whatever else is in the batch.
            starts: Tokens that each completion begins with, in prompt-major order, each maybe none; None forces none.
                They are written as given, and what follows is what follows where the same tokens are drawn.
        """


class TransformersEngine(RolloutEngine):
    """Samples with `generate` of transformers, all groups in one batch.

    Args:
        max_new_tokens: Longest completion, end token included.
        temperature: Divides the logits; 1 samples from the policy itself.
        top_p: Smallest share of probability to sample from, in (0, 1]; 1 samples from all. Below 1, the recorded
            log-probabilities are those of the truncated distribution, so that `train/response/sampling_mismatch` and a
            `correction` see how it differs from the one that is learned on.
    """

    def __init__(self, max_new_tokens: int = 512, temperature: float = 1.0, top_p: float = 1.0) -> None:
        if max_new_tokens < 1:
            raise UserError(f"`max_new_tokens` must be at least 1; got {max_new_tokens}.")
        if not 0 < top_p <= 1:
            raise UserError(f"`top_p` must lie in (0, 1], where 1 samples from all tokens; got {top_p}.")
        super().__init__(temperature)
        self.max_new_tokens = max_new_tokens
        self.top_p = top_p

    @torch.no_grad()
    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        """Completions with the log-probabilities they were drawn with.

        Raises:
            NonFiniteError: If logits are not finite.
            UserError: If there is not one start per completion, or one cannot be continued.
        """
        if policy.lockstep.together:
            raise UserError(
                "`sampling` must be by GroupEngine, of a model that takes packed rows, where ranks share the weights: "
                "`generate` would pass more often on one rank than on another. Train with `--trainer.strategy ddp`."
            )
        given = ForcedStarts.of(policy, starts, len(encoded) * group_size, self.max_new_tokens)
        uniform = uniform_numbers(seeds, group_size, self.max_new_tokens).to(policy.device)
        drawing = _Drawing(self, policy, uniform, given)
        settings = self._settings(policy, group_size)
        # `generate` draws too, from the one token that it is left.
        with sampling(policy), torch.random.fork_rng([policy.device] if policy.device.type == "cuda" else []):
            written = policy.backbone.generate(
                **encoded.model_inputs(), generation_config=settings, logits_processor=LogitsProcessorList([drawing])
            )
        tokens, log_probs = written[:, encoded.length :].clone(), torch.stack(drawing.log_probs, 1)
        return rollouts(policy, tokens, log_probs, group_size, given.forced[:, : tokens.shape[1]])

    def draw(
        self, policy: Policy, logits: Float[Tensor, "n V"], uniform: Float[Tensor, " n"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """A token of each row and the log-probability it was drawn with."""
        tokens, log_probs = drawn(logits, uniform, self.temperature, self.top_p)
        policy.headless.require_finite("Log-probabilities of sampled tokens", log_probs)
        return tokens, log_probs

    def _settings(self, policy: Policy, group_size: int) -> GenerationConfig:
        return GenerationConfig(
            do_sample=True,
            top_k=0,
            max_new_tokens=self.max_new_tokens,
            num_return_sequences=group_size,
            suppress_tokens=policy.placeholders,
            eos_token_id=policy.end_tokens,
            pad_token_id=policy.pad_token_id,
        )


@contextmanager
def sampling(policy: Policy) -> Iterator[None]:
    """A context without dropout and without the generation config of the checkpoint, for adapters cast once.

    `generate` takes every setting that it is not given from there: with a repetition penalty, it would sample from
    another distribution than the one that is scored.
    """
    own = policy.backbone.generation_config
    policy.backbone.generation_config = GenerationConfig()
    try:
        with policy.evaluating(), prepared_adapters(policy.adapted, policy.headless.precision):
            yield
    finally:
        policy.backbone.generation_config = own


class _Drawing(LogitsProcessor):
    """Draws the next token of every row and leaves `generate` no other: (N, V) in memory, never (N, T, V).

    Args:
        engine: How tokens are drawn.
        policy: What samples.
        uniform: The numbers they are drawn by.
        starts: What completions begin with, whatever is drawn.
    """

    def __init__(
        self, engine: TransformersEngine, policy: Policy, uniform: Float[Tensor, "N T"], starts: ForcedStarts
    ) -> None:
        self.log_probs: list[Float[Tensor, " N"]] = []
        self._engine = engine
        self._policy = policy
        self._uniform = uniform
        self._starts = starts
        self._rows = torch.arange(len(uniform), device=uniform.device)

    def __call__(self, input_ids: Int[Tensor, "N S"], scores: Float[Tensor, "N V"]) -> Float[Tensor, "N V"]:
        """Scores of 0 for the token that was drawn, and of -inf for the others."""
        step = len(self.log_probs)
        drawn = self._engine.draw(self._policy, scores, self._uniform[:, step])
        tokens, log_probs = self._starts.imposed(self._rows, step, *drawn)
        self.log_probs.append(log_probs)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def rollouts(
    policy: Policy,
    tokens: Int[Tensor, "N T"],
    log_probs: Float[Tensor, "N T"],
    group_size: int,
    forced: Bool[Tensor, "N T"] = ABSENT,
) -> Rollouts:
    """The record of sampled tokens; those behind the first end token of a row are padding."""
    ends = torch.tensor(policy.end_tokens, device=tokens.device)
    mask = until_end(tokens, ends)
    return Rollouts(
        tokens=tokens,
        mask=mask,
        log_probs=log_probs.masked_fill(~mask, 0.0),
        texts=tuple(written(policy, row, counts)[0] for row, counts in zip(tokens, mask, strict=True)),
        truncated=~torch.isin(tokens, ends).any(1),
        group_size=group_size,
        forced=forced,
    )


def until_end(tokens: Int[Tensor, "N T"], ends: Int[Tensor, " ends"]) -> Bool[Tensor, "N T"]:
    """True up to and including the first end token of each row."""
    ended = torch.isin(tokens, ends)
    return ended.cumsum(1) - ended.long() == 0


def written(policy: Policy, tokens: Int[Tensor, " T"], mask: Bool[Tensor, " T"]) -> tuple[str, list[Span]]:
    """One response without its end token, and the characters that each of its tokens has a part in.

    What the prompt has opened of the response stands in front of what was sampled.
    """
    kept: list[int] = tokens[mask].tolist()
    text, offsets = token_offsets(policy.tokenizer, kept[:-1] if kept and kept[-1] in policy.end_tokens else kept)
    ahead = len(policy.opening)
    return policy.opening + text, [(start + ahead, end + ahead) for start, end in offsets]
