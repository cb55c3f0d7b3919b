"""From completions to what they say and whether it is so."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from vlcal.policy import Policy
from vlcal.policy.rollout import written_tokens
from vlcal.scores import HarmonicMean, OverallConfidence
from vlcal.text import Grammar, ParsedResponse, parse, token_masks, token_offsets
from vlcal.text.parse import SPAN_NAMES
from vlcal.types import PromptBatch, Responses, Rollouts, Spans
from vlcal.verifiers import ExactVerifier, NoOracle, Oracle, Verifier


class ResponseReader:
    """Parses completions and judges them.

    Args:
        grammar: The form that responses are asked to have.
        verifier: Judges the answer against the target, where the data set brings no verifier of its own
            (`extras["verifier"]`).
        oracle: Knows, for data sets that do, whether the image was read right and the answer follows from it.
        overall: Joins the two stated confidences into one.
    """

    def __init__(
        self,
        grammar: Grammar = Grammar(),
        verifier: Verifier = ExactVerifier(),
        oracle: Oracle = NoOracle(),
        overall: OverallConfidence = HarmonicMean(),
    ) -> None:
        self.grammar = grammar
        self.verifier = verifier
        self.oracle = oracle
        self.overall = overall

    def read(self, policy: Policy, prompts: PromptBatch, rollouts: Rollouts) -> Responses:
        """What every completion says, judged."""
        parsed = [parse(text, self.grammar) for text in rollouts.texts]
        return self._judged(prompts, parsed, rollouts.group_size, self._spans(policy, rollouts, parsed))

    def read_texts(self, prompts: PromptBatch, texts: Sequence[str], group_size: int = 1) -> Responses:
        """What texts say whose tokens nobody knows, judged; prompt-major, their spans (N, 0)."""
        nothing = torch.zeros(len(texts), 0, dtype=torch.bool)
        parsed = [parse(text, self.grammar) for text in texts]
        return self._judged(prompts, parsed, group_size, Spans(**dict.fromkeys(SPAN_NAMES, nothing)))

    def _judged(self, prompts: PromptBatch, parsed: list[ParsedResponse], group_size: int, spans: Spans) -> Responses:
        owners = [row // group_size for row in range(len(parsed))]
        truths = [self.oracle(said, prompts.extras[owner]) for said, owner in zip(parsed, owners, strict=True)]
        verdicts = [
            prompts.extras[at].get("verifier", self.verifier)(said.answer, prompts.targets[at])
            for said, at in zip(parsed, owners, strict=True)
        ]
        device = spans.vision.device

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        visual = column([said.visual_confidence for said in parsed])
        reasoning = column([said.reasoning_confidence for said in parsed])
        return Responses(
            answers=tuple(said.answer for said in parsed),
            well_formed=torch.tensor([said.well_formed for said in parsed], device=device),
            correct=column(verdicts),
            visual=visual,
            reasoning=reasoning,
            overall=self.overall(visual, reasoning),
            read_right=column([read for read, _ in truths]),
            reasoned_right=column([reasoned for _, reasoned in truths]),
            spans=spans,
        )

    def _spans(self, policy: Policy, rollouts: Rollouts, parsed: list[ParsedResponse]) -> Spans:
        rows: dict[str, list[Bool[Tensor, " T"]]] = {name: [] for name in SPAN_NAMES}
        for tokens, mask, said in zip(rollouts.tokens, rollouts.mask, parsed, strict=True):
            offsets = token_offsets(policy.tokenizer, written_tokens(policy, tokens, mask))[1]
            for name, found in token_masks(offsets, said.spans, len(tokens)).items():
                rows[name].append(found)
        return Spans(**{name: torch.stack(masks).to(rollouts.tokens.device) for name, masks in rows.items()})
