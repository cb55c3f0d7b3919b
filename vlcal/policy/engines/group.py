"""An engine that decodes whole groups over one shared prompt."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlcal.policy.engines.base import TransformersEngine, end_tokens, rollouts, sampling
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
        top_p: Smallest share of probability to sample from, in (0, 1]; 1 samples from all.
    """

    @torch.no_grad()
    def sample(self, policy: Policy, encoded: EncodedPrompts, group_size: int, seed: int) -> Rollouts:
        """Completions with the log-probabilities they were drawn with."""
        if not isinstance(policy.layout, Packed):
            return super().sample(policy, encoded, group_size, seed)
        with sampling(policy):
            tokens, log_probs = self._decode(policy, encoded, group_size, seed)
        return rollouts(policy, tokens, log_probs, group_size)

    def _decode(
        self, policy: Policy, encoded: EncodedPrompts, group_size: int, seed: int
    ) -> tuple[Int[Tensor, "N T"], Float[Tensor, "N T"]]:
        count, device = len(encoded) * group_size, policy.device
        # One number per token of every completion, ended or not: a completion does not depend on when others end.
        uniform = torch.rand(count, self.max_new_tokens, generator=torch.Generator().manual_seed(seed)).to(device)
        tokens = torch.full((count, self.max_new_tokens), policy.pad_token_id, device=device)
        log_probs = torch.zeros(count, self.max_new_tokens, device=device)
        ends = end_tokens(policy)
        groups = _Groups(policy.headless, encoded)
        hidden = groups.last[:, None].expand(-1, group_size, -1)
        places = torch.arange(group_size, device=device).repeat(len(encoded), 1)  # EMPTY where a completion has ended
        for step in range(self.max_new_tokens):
            active = places != EMPTY
            rows = (groups.prompts[:, None] * group_size + places)[active]
            chosen, log_probs[rows, step] = self._draw(policy.head(hidden[active]).float(), uniform[rows, step])
            tokens[rows, step] = chosen
            places = places.masked_scatter(active, torch.where(torch.isin(chosen, ends), EMPTY, places[active]))
            if (places == EMPTY).all() or step + 1 == self.max_new_tokens:
                break
            places = groups.compact(places)
            newest = tokens[groups.prompts[:, None] * group_size + places.clamp(min=0), step]
            hidden = groups.advance(newest, places, step)
        return tokens[:, : step + 1], log_probs[:, : step + 1]

    def _draw(
        self, logits: Float[Tensor, "n V"], uniform: Float[Tensor, " n"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """A token of each row, by inversion of its distribution, and its log-probability before `top_p` truncates."""
        log_p = (logits / self.temperature).log_softmax(-1)
        if self.top_p == 1.0:
            mass, order = log_p.exp().cumsum(-1), None
            total = mass[:, -1:]
        else:
            probs, order = log_p.exp().sort(dim=-1, descending=True)
            mass = probs.cumsum(-1)
            total = mass.gather(1, ((mass - probs < self.top_p).sum(1, keepdim=True) - 1))
        at = torch.searchsorted(mass, uniform[:, None] * total, right=True).clamp(max=logits.shape[1] - 1)
        chosen = at if order is None else order.gather(1, at)
        return chosen[:, 0], log_p.gather(1, chosen)[:, 0]


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
        self._cache = output.past_key_values
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
