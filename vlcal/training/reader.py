"""From completions to what they say and whether it is right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlcal.parts import fresh_defaults
from vlcal.policy import Policy
from vlcal.policy.engines.base import written
from vlcal.scores import HarmonicMean, OverallConfidence
from vlcal.text import SPAN_NAMES, Grammar, ParsedResponse, parse
from vlcal.text.spans import token_masks
from vlcal.types import PromptBatch, Responses, Rollouts, Spans
from vlcal.verifiers import ExactVerifier, NoOracle, Oracle, Verifier, verdicts


class ResponseReader:
    """Parses completions and checks their answers.

    Args:
        grammar: The form that responses are asked to have.
        verifier: Checks the answer against the target, where a prompt brings no verifier of its own.
        oracle: Knows, for data sets that do, whether the image was read right and the answer follows from it.
        overall: Joins the two stated confidences into one, wherever a joint confidence is asked for: in metrics, in
            rewards, in objectives.
    """

    @fresh_defaults
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
        """What every completion says, and whether it is right."""
        parsed = [parse(text, self.grammar) for text in rollouts.texts]
        return self._checked(prompts, parsed, rollouts.group_size, self._spans(policy, rollouts, parsed))

    def read_texts(self, prompts: PromptBatch, texts: Sequence[str], group_size: int = 1) -> Responses:
        """What texts without tokens say, and whether it is right; prompt-major, with spans of shape (N, 0)."""
        nothing = torch.zeros(len(texts), 0, dtype=torch.bool)
        parsed = [parse(text, self.grammar) for text in texts]
        return self._checked(prompts, parsed, group_size, Spans(**dict.fromkeys(SPAN_NAMES, nothing)))

    def confidence_levels(self, device: torch.device) -> tuple[Float[Tensor, " L"], Float[Tensor, "L L"]]:
        """The confidence of each level, and the overall confidence of each pair of a visual and a reasoning level."""
        levels = torch.tensor([self.grammar.confidence(level) for level in self.grammar.levels], device=device)
        return levels, self.overall(levels[:, None], levels[None, :])

    def _checked(self, prompts: PromptBatch, parsed: list[ParsedResponse], group_size: int, spans: Spans) -> Responses:
        prompt_index = [row // group_size for row in range(len(parsed))]
        truths = [self.oracle(said, prompts.extras[at]) for said, at in zip(parsed, prompt_index, strict=True)]
        judged = verdicts(
            [
                (prompts.verifiers[at] or self.verifier, said.answer, prompts.targets[at])
                for said, at in zip(parsed, prompt_index, strict=True)
            ]
        )
        device = spans.vision.device

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        visual = column([said.visual_confidence for said in parsed])
        reasoning = column([said.reasoning_confidence for said in parsed])
        return Responses(
            answers=tuple(said.answer for said in parsed),
            well_formed=torch.tensor([said.well_formed for said in parsed], device=device),
            correct=column(judged),
            visual=visual,
            reasoning=reasoning,
            overall=self.overall(visual, reasoning),
            perception_correct=column([read for read, _ in truths]),
            reasoning_correct=column([reasoned for _, reasoned in truths]),
            spans=spans,
        )

    def _spans(self, policy: Policy, rollouts: Rollouts, parsed: list[ParsedResponse]) -> Spans:
        rows: dict[str, list[Bool[Tensor, " T"]]] = {name: [] for name in SPAN_NAMES}
        for tokens, mask, said in zip(rollouts.tokens, rollouts.mask, parsed, strict=True):
            _, offsets = written(policy, tokens, mask)
            for name, span in token_masks(offsets, said.spans, len(tokens)).items():
                rows[name].append(span)
        return Spans(**{name: torch.stack(masks).to(rollouts.tokens.device) for name, masks in rows.items()})
