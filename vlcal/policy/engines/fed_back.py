"""An engine that tells the policy how likely its reading was, ahead of what the policy says of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from vlcal.functional.vocabulary import token_log_probs
from vlcal.parts import fresh_defaults
from vlcal.policy.engines.base import rollouts, written
from vlcal.policy.engines.group import GroupEngine
from vlcal.policy.layouts.continuations import Continuations
from vlcal.policy.layouts.encoded import EncodedPrompts
from vlcal.policy.policy import Policy
from vlcal.text import Grammar, parse
from vlcal.text.grammar import CLOSING, OPENING
from vlcal.text.levels import spelled_levels
from vlcal.text.spans import token_masks, tokens_up_to
from vlcal.types import Rollouts

BUDGET = 16_384  # tokens of a pass over completions


class FedBackCertainty(GroupEngine):
    """Writes the measured likelihood of the reading into the analysis, and has the policy go on from there.

    A likelihood is formed in the last layers, where no later token can look it up. Here it becomes a token: the level
    nearest to `exp(sum_t log p(v_t | image, question, v_<t))` at temperature 1, as the last word of the analysis, with
    the tags up to the visual confidence. These are given and not sampled, so nothing is credited for them; what the
    level is worth is left to learn. All else is the policy's own. A reading that it was made to begin with is measured
    likewise.

    It costs a pass over the completions, and the sampling of their ends. A response without a reading or without an
    analysis behind it, and one that reached its longest, stays as it is. Other engines do not write the level, so a
    policy that was trained with this one is validated, and asked, with it; no server takes tokens to begin with.

    Args:
        max_new_tokens: Longest completion, end token included.
        temperature: Divides the logits; 1 samples from the policy itself.
        top_p: Smallest share of probability to sample from, in (0, 1]; 1 samples from all.
        grammar: Tags and levels; the instructions do not matter.
    """

    @fresh_defaults
    def __init__(
        self, max_new_tokens: int = 512, temperature: float = 1.0, top_p: float = 1.0, grammar: Grammar = Grammar()
    ) -> None:
        super().__init__(max_new_tokens, temperature, top_p)
        self.grammar = grammar

    @torch.no_grad()
    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        """Completions whose analysis ends with the level of the likelihood of their reading.

        Raises:
            UserError: If the tokenizer joins a level to a tag, or the starts do not fit.
        """
        levels = self._levels(policy)
        first = super().sample(policy, encoded, group_size, seeds, starts)
        room = first.tokens.shape[1] - max(map(len, levels))
        vision = torch.zeros_like(first.mask)
        lengths = [0] * len(first)  # of what stands ahead of the level; 0 where none is written
        for row in (~first.truncated).nonzero()[:, 0].tolist():
            length, vision[row] = self._until_analysis_ends(policy, first, row)
            lengths[row] = length if length < room else 0
        ahead = torch.tensor(lengths, device=policy.device)[:, None]
        likelihood = self._likelihood(policy, encoded, first, vision & (ahead > 0))
        nearest = (likelihood * (len(levels) - 1)).round().long().tolist()
        told = [levels[level] if length else [] for level, length in zip(nearest, lengths, strict=True)]
        begun = [[*first.tokens[row, :length].tolist(), *told[row]] for row, length in enumerate(lengths)]
        spare = max(begun)  # stands in for a row that is told nothing, so that all others begin in one pass
        if not policy.lockstep.any(bool(spare)):
            return first
        rest = super().sample(policy, encoded, group_size, seeds, [start or spare for start in begun])
        width, pad_token = max(first.tokens.shape[1], rest.tokens.shape[1]), policy.pad_token_id
        place = torch.arange(width, device=policy.device)
        known = torch.where(ahead > 0, ahead, width)  # of what the first sampling wrote
        behind = known + torch.tensor([len(level) for level in told], device=policy.device)[:, None]
        return rollouts(
            policy,
            torch.where(place < known, _wide(first.tokens, width, pad_token), _wide(rest.tokens, width, pad_token)),
            torch.where(place < known, _wide(first.log_probs, width), _wide(rest.log_probs, width)),
            group_size,
            torch.where(place < known, _wide(first.forced, width), place < behind),
        )

    def _levels(self, policy: Policy) -> list[list[int]]:
        """For each level its tokens, and those of the tags up to the visual confidence."""
        tags = self.grammar.tags
        ahead = OPENING["visual_confidence"]
        behind = "".join(tags[tags.index(CLOSING["analysis"]) : tags.index(ahead) + 1])
        spelled = spelled_levels(policy.tokenizer, self.grammar, "visual_confidence")
        level = f"{ahead}{self.grammar.levels[0]}"
        alone, closed = (policy.tokenizer.encode(said, add_special_tokens=False) for said in (level, level + behind))
        return [[*tokens, *closed[len(alone) :]] for tokens in spelled]

    def _until_analysis_ends(self, policy: Policy, sampled: Rollouts, row: int) -> tuple[int, Bool[Tensor, " T"]]:
        """How many tokens stand ahead of the end of an analysis behind a reading, 0 without; which are the reading."""
        tokens = sampled.tokens[row]
        text, offsets = written(policy, tokens, sampled.mask[row])
        said = parse(text, self.grammar)
        (vision,) = token_masks(offsets, {"vision": said.spans["vision"]}, len(tokens)).values()
        end = text.find(CLOSING["analysis"])
        complete = said.vision is not None and said.analysis is not None and text.find(CLOSING["vision"]) < end
        return tokens_up_to(offsets, end) if complete and vision.any() else 0, vision.to(tokens.device)

    def _likelihood(
        self, policy: Policy, encoded: EncodedPrompts, sampled: Rollouts, vision: Bool[Tensor, "N T"]
    ) -> Float[Tensor, " N"]:
        """The likelihood of the reading of each completion, at temperature 1."""
        likelihood = torch.ones(len(sampled), device=vision.device)
        places = vision.nonzero()[:, 1]
        if not policy.lockstep.any(len(places) > 0):
            return likelihood
        asked = int(places.max()) + 1 if len(places) else 1
        continuations = Continuations.of(encoded, sampled.tokens[:, :asked], sampled.mask[:, :asked])
        with policy.evaluating():
            for part in policy.micro_batches(continuations, BUDGET):
                reading = vision[part.rows, :asked]
                log_probs = token_log_probs(policy.hidden(part), policy.head, part.tokens, reading)
                likelihood[part.rows] = log_probs.sum(1).exp()
        return likelihood


def _wide(values: Tensor, width: int, value: int = 0) -> Tensor:
    return pad(values, (0, width - values.shape[1]), value=value)
