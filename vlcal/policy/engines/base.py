"""The family of engines that sample completions from the policy, and the one that uses `generate`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from vlcal.errors import UserError
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.policy import Policy
from vlcal.text.spans import token_offsets
from vlcal.types import Rollouts


class RolloutEngine(ABC):
    """Samples `group_size` completions for every prompt of a batch.

    Args:
        temperature: Divides the logits; 1 samples from the policy itself. Scoring for the update uses the same.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise UserError(f"`temperature` must be above 0; got {temperature}. Near 0 it is greedy decoding.")
        self.temperature = temperature

    @abstractmethod
    def sample(self, policy: Policy, encoded: EncodedPrompts, group_size: int, seed: int) -> Rollouts:
        """Completions in prompt-major order; the same seed gives the same completions."""


class TransformersEngine(RolloutEngine):
    """Samples with `generate` of transformers, all groups in one batch.

    Args:
        max_new_tokens: Longest completion, end token included.
        temperature: Divides the logits; 1 samples from the policy itself.
        top_p: Smallest share of probability to sample from, in (0, 1]; 1 samples from all.
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
    def sample(self, policy: Policy, encoded: EncodedPrompts, group_size: int, seed: int) -> Rollouts:
        """Completions with the log-probabilities they were drawn with."""
        recorder = _SampledLogProbs(self.temperature)
        settings = self._settings(policy, group_size)
        with sampling(policy), torch.random.fork_rng([policy.device] if policy.device.type == "cuda" else []):
            torch.manual_seed(seed)
            written = policy.backbone.generate(
                **encoded.model_inputs(), generation_config=settings, logits_processor=LogitsProcessorList([recorder])
            )
        return rollouts(
            policy, written[:, encoded.length :].clone(), recorder.log_probs(written, encoded.length), group_size
        )

    def _settings(self, policy: Policy, group_size: int) -> GenerationConfig:
        return GenerationConfig(
            do_sample=True,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0,
            max_new_tokens=self.max_new_tokens,
            num_return_sequences=group_size,
            suppress_tokens=policy.placeholders,
            eos_token_id=end_tokens(policy).tolist(),
            pad_token_id=policy.tokenizer.pad_token_id,
        )


@contextmanager
def sampling(policy: Policy) -> Iterator[None]:
    """A context without dropout and without the generation config of the checkpoint.

    `generate` takes every setting that it is not given from there: with a repetition penalty, it would sample from
    another distribution than the one that is scored.
    """
    own = policy.backbone.generation_config
    policy.backbone.generation_config = GenerationConfig()
    try:
        with policy.evaluating():
            yield
    finally:
        policy.backbone.generation_config = own


class _SampledLogProbs(LogitsProcessor):
    """Records the log-probability of each sampled token, one step at a time: (N, V) in memory, never (N, T, V)."""

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._recorded: list[Tensor] = []
        self._next: Tensor | None = None

    def __call__(self, input_ids: Int[Tensor, "N S"], scores: Float[Tensor, "N V"]) -> Float[Tensor, "N V"]:
        """Record the last token; the scores pass unchanged."""
        self._record(input_ids[:, -1])
        self._next = (scores.float() / self._temperature).log_softmax(-1)
        return scores

    def log_probs(self, written: Int[Tensor, "N S"], prompt_length: int) -> Float[Tensor, "N T"]:
        """Of every completion token."""
        self._record(written[:, -1])
        return torch.stack(self._recorded, 1)[:, : written.shape[1] - prompt_length]

    def _record(self, chosen: Int[Tensor, " N"]) -> None:
        if self._next is not None:
            self._recorded.append(self._next.gather(1, chosen[:, None])[:, 0])


def rollouts(policy: Policy, tokens: Int[Tensor, "N T"], log_probs: Float[Tensor, "N T"], group_size: int) -> Rollouts:
    """The record of sampled tokens; those behind the first end token of a row are padding."""
    ends = end_tokens(policy)
    mask = _until_end(tokens, ends)
    return Rollouts(
        tokens=tokens,
        mask=mask,
        log_probs=log_probs.masked_fill(~mask, 0.0),
        texts=tuple(_text(policy, row, counts) for row, counts in zip(tokens, mask, strict=True)),
        truncated=~torch.isin(tokens, ends).any(1),
        group_size=group_size,
    )


def end_tokens(policy: Policy) -> Int[Tensor, " ends"]:
    """Tokens that end a completion."""
    ends = policy.backbone.generation_config.eos_token_id
    ends = policy.tokenizer.eos_token_id if ends is None else ends
    return torch.tensor(ends if isinstance(ends, list) else [ends], device=policy.device)


def _until_end(tokens: Int[Tensor, "N T"], ends: Int[Tensor, " ends"]) -> Bool[Tensor, "N T"]:
    """True up to and including the first end token of each row."""
    ended = torch.isin(tokens, ends)
    return ended.cumsum(1) - ended.long() == 0


def _text(policy: Policy, tokens: Int[Tensor, " T"], mask: Bool[Tensor, " T"]) -> str:
    return token_offsets(policy.tokenizer, written_tokens(policy, tokens, mask))[0]


def written_tokens(policy: Policy, tokens: Int[Tensor, " T"], mask: Bool[Tensor, " T"]) -> list[int]:
    """The tokens of one completion without its end token."""
    ends = set(end_tokens(policy).tolist())
    kept: list[int] = tokens[mask].tolist()
    return kept[:-1] if kept and kept[-1] in ends else kept
