"""Supervised warm-up."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlcal.functional.surrogate import token_mean
from vlcal.modules.policy_module import PolicyModule
from vlcal.parts import fresh_defaults
from vlcal.policy import Continuations, PolicySpec
from vlcal.text import Grammar
from vlcal.training.guard import FiniteGuard
from vlcal.training.optimization import Optimization
from vlcal.types import DemonstrationBatch


class SupervisedModule(PolicyModule):
    """Warm-up: teaches the form of a response from demonstrations; the loss is on the completion only.

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
        loss = self.on_every_rank(lambda: self._loss(batch))
        norm = self.update_weights([loss])
        self.log_dict({"train/loss": loss.detach(), "train/gradient_norm": norm}, batch_size=len(batch.prompts))
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=len(batch.prompts))

    def validation_step(self, batch: DemonstrationBatch, batch_idx: int) -> None:
        """The loss on held-out demonstrations."""
        self.log("val/loss", self._loss(batch), prog_bar=True, batch_size=len(batch.prompts))

    def _loss(self, batch: DemonstrationBatch) -> Tensor:
        encoded = self.policy.encode(batch.prompts, self.grammar)
        tokens, mask = self._completions(batch)
        log_probs, _ = self.policy.score(Continuations.of(encoded, tokens, mask))
        return token_mean(-log_probs, mask)

    def _completions(self, batch: DemonstrationBatch) -> tuple[Int[Tensor, "N T"], Bool[Tensor, "N T"]]:
        end = self.policy.end_tokens[0]
        rows = [torch.tensor([*self.policy.response_tokens(text), end]) for text in batch.completions]
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        tokens = pad_sequence(rows, batch_first=True, padding_value=self.policy.pad_token_id).to(self.device)
        return tokens, torch.arange(tokens.shape[1], device=self.device) < lengths[:, None]
