"""Supervised warm-up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlcal.modules.policy_module import PolicyModule
from vlcal.parts import fresh_defaults
from vlcal.policy import Continuations, PolicySpec
from vlcal.text import Grammar
from vlcal.text.parse import Span
from vlcal.text.spans import token_masks, token_offsets
from vlcal.training.guard import FiniteGuard
from vlcal.training.optimization import Optimization
from vlcal.training.ranks import added, summed
from vlcal.types import DemonstrationBatch


class SupervisedModule(PolicyModule):
    """Warm-up: teaches the form of a response from demonstrations.

    The loss is the mean of `-log p(token)` over the tokens of completions that are not given.

    Args:
        policy: Checkpoint and adaptation; built when training starts.
        optimization: How weights are updated.
        grammar: The form of a response, for the prompt.
        guard: What becomes of a step whose numbers are not finite.
    """

    @fresh_defaults
    def __init__(
        self,
        policy: PolicySpec,
        optimization: Optimization = Optimization(),
        grammar: Grammar = Grammar(),
        guard: FiniteGuard = FiniteGuard(),
    ) -> None:
        super().__init__(policy, optimization, guard)
        self.grammar = grammar

    def parts(self) -> dict[str, object]:
        """The parts whose settings go into a checkpoint, by name."""
        return {**super().parts(), "grammar": self.grammar}

    def learn(self, batch: DemonstrationBatch) -> None:
        """One update towards the demonstrations."""
        (total,) = summed([int(self._imitated(batch).sum())])
        sums: list[float] = []

        def losses() -> Iterator[Tensor]:
            sums.clear()
            for rows in self.limits.some(self.policy, len(batch.prompts)):
                # So that every token of the step counts alike, in whichever pass and on whichever rank it is.
                loss = self._sum(batch.select(rows)) / max(total, 1)
                sums.append(float(loss.detach()))
                yield loss

        norm = self.update_weights(losses)
        whole = added({"loss": sum(sums)})["loss"]
        self.log_dict({"train/loss": whole, "train/gradient_norm": norm}, batch_size=len(batch.prompts))
        self.log("loss", whole, prog_bar=True, logger=False, batch_size=len(batch.prompts))

    def validation_step(self, batch: DemonstrationBatch, batch_idx: int) -> None:
        """The loss on held-out demonstrations."""
        tokens = int(self._imitated(batch).sum())
        some = self.limits.some
        parts = self.limits.retried(
            lambda: [self._sum(batch.select(rows)) for rows in some(self.policy, len(batch.prompts))]
        )
        self.log("val/loss", sum(parts) / max(tokens, 1), prog_bar=True, batch_size=tokens, sync_dist=True)

    def _sum(self, batch: DemonstrationBatch) -> Tensor:
        """The sum over the tokens that are imitated."""
        encoded = self.policy.encode(batch.prompts, self.grammar)
        tokens, mask, given = self._completions(batch)
        log_probs, _ = self.policy.score(Continuations.of(encoded, tokens, mask))
        return -log_probs.masked_fill(~(mask & ~given), 0.0).sum()

    def _imitated(self, batch: DemonstrationBatch) -> Bool[Tensor, "N T"]:
        _, mask, given = self._completions(batch)
        return mask & ~given

    def _completions(
        self, batch: DemonstrationBatch
    ) -> tuple[Int[Tensor, "N T"], Bool[Tensor, "N T"], Bool[Tensor, "N T"]]:
        """Tokens, which of them there are, and which of those are given and not to be imitated."""
        rows = [self.policy.response_tokens(text) for text in batch.completions]
        ended = [torch.tensor([*row, self.policy.end_tokens[0]]) for row in rows]
        tokens = pad_sequence(ended, batch_first=True, padding_value=self.policy.pad_token_id)
        mask = torch.arange(tokens.shape[1]) < torch.tensor([len(row) for row in ended])[:, None]
        given = torch.stack(
            [self._given(row, spans, len(held)) for row, spans, held in zip(rows, batch.given, mask, strict=True)]
        )
        return tokens.to(self.device), mask.to(self.device), given.to(self.device)

    def _given(self, row: list[int], spans: Sequence[Span], length: int) -> Bool[Tensor, " T"]:
        """True on the tokens of a completion that overlap its given characters."""
        if not spans:
            return torch.zeros(length, dtype=torch.bool)
        offsets = token_offsets(self.policy.tokenizer, row)[1]
        named = {str(number): span for number, span in enumerate(spans)}
        return torch.stack(list(token_masks(offsets, named, length).values())).any(0)
