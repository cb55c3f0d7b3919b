"""An engine that decodes whole groups over one shared prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlcal.policy.engines.base import TransformersEngine, rollouts, sampling, until_end
from vlcal.policy.engines.draws import drawn, uniform_numbers
from vlcal.policy.engines.group_cache import GroupCache
from vlcal.policy.engines.starts import ForcedStarts
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.layouts.packing import EMPTY, PROMPT, Packed, additive_mask, attends
from vlcal.policy.policy import Policy
from vlcal.types import Rollouts

BETWEEN_LOOKS = 4  # tokens from one look at which completions have ended to the next; a look waits for the device
WORTHWHILE = 0.8  # of its places that a batch may keep for the copy of its cache to pay


class GroupEngine(TransformersEngine):
    """Samples all groups in one batch, with the keys and values of each prompt computed and kept once.

    The layout is that of `Packed`, one token per completion and step. Tokens that all completions are made to begin
    with take one pass. Once enough completions have ended, they leave the batch, and so does a prompt with its last
    one. A model that takes no packed rows samples with `generate`.

    Args:
        max_new_tokens: Longest completion, end token included.
        temperature: Divides the logits; 1 samples from the policy itself.
        top_p: Smallest share of probability to sample from, in (0, 1]; 1 samples from all. Below 1, the recorded
            log-probabilities are those of the truncated distribution, so that `train/response/sampling_mismatch` and a
            `correction` see how it differs from the one that is learned on.
    """

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
        layout = policy.layout
        if not isinstance(layout, Packed):
            return super().sample(policy, encoded, group_size, seeds, starts)
        given = ForcedStarts.of(policy, starts, len(encoded) * group_size, self.max_new_tokens)
        with sampling(policy):
            groups = _Groups(policy, layout, encoded, group_size, self.max_new_tokens)
            uniform = uniform_numbers(seeds, group_size, self.max_new_tokens).to(policy.device)
            tokens, log_probs = self._decode(policy, groups, uniform, given)
        return rollouts(policy, tokens, log_probs, group_size, given.forced[:, : tokens.shape[1]])

    def _decode(
        self, policy: Policy, groups: _Groups, uniform: Float[Tensor, "N T"], starts: ForcedStarts
    ) -> tuple[Int[Tensor, "N T"], Float[Tensor, "N T"]]:
        tokens = torch.full(uniform.shape, policy.pad_token_id, device=uniform.device)
        log_probs = torch.zeros(uniform.shape, device=uniform.device)
        ends = torch.tensor(policy.end_tokens, device=uniform.device)
        begun, going_on = -policy.lockstep.most(-starts.shortest), policy.lockstep.any  # the shortest of all ranks
        tokens[:, :begun] = starts.tokens[:, :begun]
        hidden = groups.begin(tokens[:, :begun]) if begun else groups.first
        for step in range(begun, self.max_new_tokens):
            rows = groups.rows.flatten()
            sampled = drawn(policy.head(hidden.flatten(0, 1)), uniform[rows, step], self.temperature, self.top_p)
            chosen, given = starts.imposed(rows, step, *sampled)
            ended = groups.ended.flatten()
            tokens[rows, step] = chosen.masked_fill(ended, policy.pad_token_id)
            log_probs[rows, step] = given.masked_fill(ended, 0.0)
            groups.ended = (ended | torch.isin(chosen, ends)).view_as(groups.rows)
            if step + 1 == self.max_new_tokens or ((step + 1) % BETWEEN_LOOKS == 0 and not going_on(groups.compact())):
                break
            hidden = groups.advance(tokens[:, step], step)
        policy.headless.require_finite("Log-probabilities of sampled tokens", log_probs)
        longest = int(until_end(tokens, ends).sum(1).max())
        return tokens[:, :longest], log_probs[:, :longest]


class _Groups:
    """The state of groups while they are decoded: `p` prompts that are still written on, `q` completions of each.

    A completion that has ended keeps its place, and is paid for, until enough have ended to make the batch smaller.

    Args:
        policy: What writes.
        layout: How its rows are attended to.
        encoded: The prompts.
        size: Completions of each.
        longest: Tokens of the longest completion.

    Attributes:
        rows: Which completion is at each place, in prompt-major order of the whole batch.
        ended: True where it has ended.
        first: The states that predict the first tokens.
    """

    def __init__(self, policy: Policy, layout: Packed, encoded: EncodedPrompts, size: int, longest: int) -> None:
        self._model, self._layout, self._longest = policy.headless, layout, longest
        positions, self._following = self._model.positions(encoded)
        self._axes = len(positions)
        output = self._model(**encoded.model_inputs(), position_ids=positions.squeeze(0), use_cache=True)
        self._kept = GroupCache(output[self._model.cache_argument], encoded.length, size)
        self._prompt = torch.where(encoded.rows["attention_mask"].bool(), PROMPT, EMPTY)
        self.rows: Int[Tensor, "p q"] = torch.arange(len(encoded) * size, device=positions.device).view(-1, size)
        self.ended: Bool[Tensor, "p q"] = torch.zeros_like(self.rows, dtype=torch.bool)
        self.first: Float[Tensor, "p q D"] = output.last_hidden_state[:, -1, None].expand(-1, size, -1)
        self._mask = self._mask_of_all_steps()

    def begin(self, starts: Int[Tensor, "N s"]) -> Float[Tensor, "p q D"]:
        """The hidden states behind the tokens that all completions begin with."""
        length, steps, width = self._prompt.shape[1], starts.shape[1], self.rows.shape[1]
        tokens = starts[self.rows].transpose(1, 2).flatten(1)
        steps_of = torch.arange(steps, device=starts.device).repeat_interleave(width)
        own = torch.arange(1, width + 1, device=starts.device).repeat(steps).expand(len(tokens), -1)
        allowed = attends(own, torch.cat([self._prompt, own], 1)).tril(length)
        states = self._passed(tokens, self._layout.folded(additive_mask(allowed, self._model.dtype)), steps_of)
        return states[:, -width:]

    def compact(self) -> bool:
        """Drop completions that have ended, where that makes the batch much smaller; False when all have."""
        active = ~self.ended.cpu()
        counts = active.sum(1)
        alive, width = counts.nonzero()[:, 0], int(counts.max())
        if len(alive) * width < WORTHWHILE * active.numel() and width:
            order = active[alive].byte().argsort(dim=1, descending=True, stable=True)[:, :width]
            self._keep(alive.to(self.rows.device), order.to(self.rows.device))
        return width > 0

    def advance(self, newest: Int[Tensor, " N"], step: int) -> Float[Tensor, "p q D"]:
        """The hidden states behind one more token of each completion."""
        mask = self._mask[..., : self._prompt.shape[1] + (step + 1) * self.rows.shape[1]]
        return self._passed(newest[self.rows], mask, torch.full_like(self.rows[0], step))

    def _passed(
        self, tokens: Int[Tensor, "p s"], mask: Float[Tensor, "p 1 rows k"], steps: Int[Tensor, " s"]
    ) -> Float[Tensor, "p s D"]:
        """The hidden states of further tokens, each at its step behind the prompt."""
        positions = (self._following[:, None] + steps)[None].expand(self._axes, -1, -1)
        states: Float[Tensor, "p s D"] = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions.squeeze(0),
            **{self._model.cache_argument: self._kept.cache},
            use_cache=True,
        ).last_hidden_state
        return states

    def _keep(self, prompts: Int[Tensor, " p"], places: Int[Tensor, "p q"]) -> None:
        self._kept.keep(prompts, places)
        self.rows, self.ended = (values[prompts].gather(1, places) for values in (self.rows, self.ended))
        self._prompt, self._following = self._prompt[prompts], self._following[prompts]
        self._mask = self._mask_of_all_steps()

    def _mask_of_all_steps(self) -> Float[Tensor, "p 1 rows s"]:
        """What each completion attends to, up to its last token; its start serves every step."""
        prompts, width = self.rows.shape
        own = torch.arange(1, width + 1, device=self.rows.device).expand(prompts, -1)
        keys = torch.cat([self._prompt, own.repeat(1, self._longest)], 1)
        return self._layout.folded(additive_mask(attends(own, keys), self._model.dtype))
