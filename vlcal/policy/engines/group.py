"""An engine that decodes whole groups over one shared prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlcal.policy.engines.base import TransformersEngine, rollouts, sampling
from vlcal.policy.engines.draws import uniform_numbers
from vlcal.policy.engines.starts import ForcedStarts
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.layouts.headless import HeadlessModel
from vlcal.policy.layouts.packing import EMPTY, PROMPT, Packed, additive_mask, attends
from vlcal.policy.policy import Policy
from vlcal.types import Rollouts


class GroupEngine(TransformersEngine):
    """Samples all groups in one batch, with the keys and values of each prompt computed and kept once.

    The layout is that of `Packed`, one token per completion and step. Completions that have ended leave the batch, and
    so does a prompt with its last one. A model that takes no packed rows samples with `generate`.

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
        if not isinstance(policy.layout, Packed):
            return super().sample(policy, encoded, group_size, seeds, starts)
        given = ForcedStarts.of(policy, starts, len(encoded) * group_size, self.max_new_tokens)
        with sampling(policy):
            tokens, log_probs = self._decode(policy, encoded, group_size, seeds, given)
        return rollouts(policy, tokens, log_probs, group_size, given.forced[:, : tokens.shape[1]])

    def _decode(
        self, policy: Policy, encoded: EncodedPrompts, group_size: int, seeds: Sequence[int], starts: ForcedStarts
    ) -> tuple[Int[Tensor, "N T"], Float[Tensor, "N T"]]:
        count, device = len(encoded) * group_size, policy.device
        uniform = uniform_numbers(seeds, group_size, self.max_new_tokens).to(device)
        tokens = torch.full((count, self.max_new_tokens), policy.pad_token_id, device=device)
        log_probs = torch.zeros(count, self.max_new_tokens, device=device)
        ends = torch.tensor(policy.end_tokens, device=device)
        groups = _Groups(policy.headless, encoded)
        hidden = groups.last[:, None].expand(-1, group_size, -1)
        places = torch.arange(group_size, device=device).repeat(len(encoded), 1)  # EMPTY where a completion has ended
        for step in range(self.max_new_tokens):
            active = places != EMPTY
            rows = (groups.prompts[:, None] * group_size + places)[active]
            drawn = self.draw(policy, policy.head(hidden[active]), uniform[rows, step])
            chosen, log_probs[rows, step] = starts.imposed(rows, step, *drawn)
            tokens[rows, step] = chosen
            places = places.masked_scatter(active, torch.where(torch.isin(chosen, ends), EMPTY, places[active]))
            if (places == EMPTY).all() or step + 1 == self.max_new_tokens:
                break
            places = groups.compact(places)
            newest = tokens[groups.prompts[:, None] * group_size + places.clamp(min=0), step]
            hidden = groups.advance(newest, places, step)
        return tokens[:, : step + 1], log_probs[:, : step + 1]


class _Groups:
    """The state of groups while they are decoded: caches, segments of their slots, positions.

    Args:
        model: The model below its head.
        encoded: The prompts, one group each.
    """

    def __init__(self, model: HeadlessModel, encoded: EncodedPrompts) -> None:
        self._model = model
        positions, self._following = model.positions(encoded)
        self._axes = len(positions)
        output = model(**encoded.model_inputs(), position_ids=positions.squeeze(0), use_cache=True)
        self._cache = output[model.cache_argument]
        self._cache_input = {model.cache_argument: self._cache}
        self._segments = torch.where(encoded.rows["attention_mask"].bool(), PROMPT, EMPTY)
        self.last: Float[Tensor, "P D"] = output.last_hidden_state[:, -1]
        self.prompts: Int[Tensor, " p"] = torch.arange(len(encoded), device=positions.device)

    def compact(self, places: Int[Tensor, "p q"]) -> Int[Tensor, "p r"]:
        """The places of active completions side by side; prompts without one are dropped."""
        active = places != EMPTY
        alive = active.any(1)
        if not alive.all():
            kept = alive.nonzero()[:, 0]
            self._cache.batch_select_indices(kept)
            self._segments, self._following = self._segments[kept], self._following[kept]
            self.prompts, places, active = self.prompts[kept], places[kept], active[kept]
        order = active.byte().argsort(dim=1, descending=True, stable=True)
        return places.gather(1, order)[:, : int(active.sum(1).max())]

    def advance(self, tokens: Int[Tensor, "p q"], places: Int[Tensor, "p q"], step: int) -> Float[Tensor, "p q D"]:
        """The hidden states behind one more token of each active completion."""
        segments = torch.where(places == EMPTY, EMPTY, places + 1)
        self._segments = torch.cat([self._segments, segments], 1)
        positions = (self._following + step)[None, :, None].expand(self._axes, -1, tokens.shape[1])
        states: Float[Tensor, "p q D"] = self._model(
            input_ids=tokens,
            attention_mask=additive_mask(attends(segments, self._segments), self._model.dtype),
            position_ids=positions.squeeze(0),
            **self._cache_input,
            use_cache=True,
        ).last_hidden_state
        return states
