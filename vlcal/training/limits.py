"""How much goes through the model at once, and what becomes of a pass for which memory does not suffice."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch

from vlcal.errors import TooLittleMemoryError, one_line, out_of_memory
from vlcal.policy import UNLIMITED, Continuations, EncodedPrompts, MicroBatch, Policy, RolloutEngine
from vlcal.training.chunks import cut, joined
from vlcal.types import Rollouts

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


class Limits:
    """Bounds on what is computed at once, halved where memory runs out, for the rest of the run.

    Neither changes what is learned: the passes of an update add up, completions are drawn by prompt.

    Args:
        tokens: Of a pass, prompts and completions together.
        prompts: That are sampled, or imitated, at once.

    Attributes:
        halvings: How often a bound was halved.
    """

    def __init__(self, tokens: int = UNLIMITED, prompts: int = UNLIMITED) -> None:
        self.tokens = tokens
        self.prompts = prompts
        self.halvings = 0
        self._smaller: Callable[[str], None] = self._give_up

    def parts(self, policy: Policy, continuations: Continuations) -> Iterator[MicroBatch]:
        """The continuations in parts, each for a pass of its own."""
        for part in policy.micro_batches(continuations, self.tokens):
            rows, width = part.tokens.shape
            if not policy.lockstep.together:  # others would go on with the passes of before
                self._smaller = partial(self._fewer_tokens, rows, rows * (part.encoded.length + width))
            yield part

    def some(self, policy: Policy, prompts: int) -> Iterator[list[int]]:
        """The indices of so many prompts, as many at once as are sampled or imitated."""
        for rows in cut(list(range(prompts)), self.prompts):
            if not policy.lockstep.together:
                self._smaller = partial(self._fewer_prompts, len(rows))
            yield rows

    def retried(self, attempt: Callable[[], Item], ahead: Callable[[], object] = lambda: None) -> Item:
        """What `attempt` gives, made anew under smaller bounds as often as memory runs out in it.

        Args:
            attempt: Goes through `parts` or `some`; where it does neither, it is not made anew.
            ahead: Drops what an attempt that failed has left behind, ahead of the next.

        Raises:
            TooLittleMemoryError: If nothing smaller can be done at once.
        """
        while True:
            self._smaller = self._give_up
            try:
                return attempt()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                reason = one_line(error)
            # Behind the handler, which holds the frames of the attempt and all their tensors.
            ahead()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._smaller(reason)

    def _fewer_tokens(self, completions: int, tokens: int, reason: str) -> None:
        before, self.tokens = self.tokens, min(self.tokens, tokens) // 2
        if completions == 1 or not self.tokens:
            raise TooLittleMemoryError(
                f"Memory ran out in a pass of {completions} completion and about {tokens} tokens ({reason}), which "
                "cannot be cut. Use RecomputedActivations or QLoRA, lower `max_new_tokens`, or take smaller images; "
                "`vlcal doctor` says what fits."
            )
        self._said("token_budget", before, self.tokens, reason)

    def _fewer_prompts(self, prompts: int, reason: str) -> None:
        before, self.prompts = min(self.prompts, prompts), prompts // 2
        if not self.prompts:
            raise TooLittleMemoryError(
                f"Memory ran out with the completions of a single prompt ({reason}). Use QLoRA, lower "
                "`max_new_tokens` or `group_size`, or take smaller images; `vlcal doctor` says what fits."
            )
        self._said("prompts at once", before, self.prompts, reason)

    def _give_up(self, reason: str) -> None:
        raise TooLittleMemoryError(
            f"Memory ran out ({reason}). Lower `sampling.chunk_prompts`, or take smaller images; `vlcal doctor` says "
            "what fits."
        )

    def _said(self, bound: str, before: int, now: int, reason: str) -> None:
        self.halvings += 1
        had = "unlimited" if before == UNLIMITED else before
        logger.warning(
            "Memory ran out, and `%s` is %s in place of %s for the rest of the run, which changes time and "
            "nothing that is learned: %s",
            bound,
            now,
            had,
            reason,
        )


class FewerPrompts(RolloutEngine):
    """Samples with another engine, with fewer prompts at once where memory runs out.

    The completions are those of all at once, since each prompt has its own seed.

    Args:
        engine: What samples.
        limits: Prompts at once.
    """

    def __init__(self, engine: RolloutEngine, limits: Limits) -> None:
        super().__init__(engine.temperature)
        self.forces_starts = engine.forces_starts
        self._engine = engine
        self._limits = limits

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        """Completions in prompt-major order.

        Raises:
            TooLittleMemoryError: If those of a single prompt do not fit.
        """
        if policy.lockstep.together:
            return self._engine.sample(policy, encoded, group_size, seeds, starts)

        def of(rows: list[int]) -> Rollouts:
            some = encoded if len(rows) == len(encoded) else encoded.select(rows)
            begun = (
                None if starts is None else [starts[row * group_size + g] for row in rows for g in range(group_size)]
            )
            return self._engine.sample(policy, some, group_size, [seeds[row] for row in rows], begun)

        whole: Rollouts = joined(
            self._limits.retried(lambda: [of(rows) for rows in self._limits.some(policy, len(encoded))])
        )
        return replace(whole, tokens=whole.tokens.masked_fill(~whole.mask, policy.pad_token_id))
