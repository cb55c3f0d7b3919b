"""Engines that let the policy write completions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from vlcal.policy.encode import EncodedPrompts
from vlcal.policy.policy import Policy
from vlcal.text import token_offsets
from vlcal.types import Rollouts


class RolloutEngine(ABC):
    """Lets the policy answer every prompt of a batch `group_size` times.

    Args:
        temperature: Divides the logits; 1 samples what the policy states. What is learned is scored at it too.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"`temperature` must be above 0; got {temperature}. Near 0 is near the likeliest token.")
        self.temperature = temperature

    @abstractmethod
    def sample(self, policy: Policy, encoded: EncodedPrompts, group_size: int, seed: int) -> Rollouts:
        """Completions in prompt-major order; the same seed gives the same completions."""


class TransformersEngine(RolloutEngine):
    """Samples with `generate` of transformers, all groups in one batch.

    Args:
        max_new_tokens: Longest completion, end token included.
        temperature: Divides the logits; 1 samples what the policy states.
        top_p: Smallest share of probability to sample from, in (0, 1]; 1 samples from all.
    """

    def __init__(self, max_new_tokens: int = 512, temperature: float = 1.0, top_p: float = 1.0) -> None:
        if max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` must be at least 1; got {max_new_tokens}.")
        if not 0 < top_p <= 1:
            raise ValueError(f"`top_p` must lie in (0, 1], where 1 samples from all tokens; got {top_p}.")
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
    """A context without dropout and without the checkpoint's own generation settings.

    `generate` fills every setting that is left open from the latter: a repetition penalty found there would sample
    from another distribution than the one that is scored.
    """
    was_training, own = policy.training, policy.backbone.generation_config
    policy.eval()
    policy.backbone.generation_config = GenerationConfig()
    try:
        yield
    finally:
        policy.backbone.generation_config = own
        policy.train(was_training)


class _SampledLogProbs(LogitsProcessor):
    """Notes the log-probability of each token when the next is asked for: one (N, V) at a time, never (N, T, V)."""

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._noted: list[Tensor] = []
        self._pending: Tensor | None = None

    def __call__(self, input_ids: Int[Tensor, "N S"], scores: Float[Tensor, "N V"]) -> Float[Tensor, "N V"]:
        """Leave the scores as they are."""
        self._note(input_ids[:, -1])
        self._pending = (scores.float() / self._temperature).log_softmax(-1)
        return scores

    def log_probs(self, written: Int[Tensor, "N S"], prompt_length: int) -> Float[Tensor, "N T"]:
        """Of every completion token."""
        self._note(written[:, -1])
        return torch.stack(self._noted, 1)[:, : written.shape[1] - prompt_length]

    def _note(self, chosen: Int[Tensor, " N"]) -> None:
        if self._pending is not None:
            self._noted.append(self._pending.gather(1, chosen[:, None])[:, 0])


def rollouts(policy: Policy, tokens: Int[Tensor, "N T"], log_probs: Float[Tensor, "N T"], group_size: int) -> Rollouts:
    """The record of what was sampled; what stands behind the first end token of a row is padding."""
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
