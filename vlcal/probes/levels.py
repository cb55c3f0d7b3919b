"""The distribution over confidence levels at a place in a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlcal.policy import Continuations
from vlcal.policy.layouts.layout import Plain
from vlcal.policy.layouts.masked_prefix import MaskedPrefixLayout
from vlcal.probes.study import Study
from vlcal.text import parse
from vlcal.text.grammar import CONFIDENCES
from vlcal.text.levels import spelled_levels


@dataclass(frozen=True)
class Place:
    """A place in a response where a level may be stated.

    Args:
        row: Index of the response.
        prefix: Its tokens up to that place.
        hidden: The first `hidden` of them are masked from attention.
    """

    row: int
    prefix: tuple[int, ...]
    hidden: int = 0


Places = Mapping[str, Sequence[Place]]


@dataclass(frozen=True)
class Levels:
    """Distributions over the levels of both confidences; NaN in the rows of responses without a place.

    Args:
        visual: Probability of each level of the visual confidence, normalised over the levels.
        reasoning: The same of the reasoning confidence.
        mass: Probability of all levels together before normalisation, the mean of both confidences. Far below 1, the
            policy would write something else there, and the two distributions mean little.
    """

    visual: Float[Tensor, "N L"]
    reasoning: Float[Tensor, "N L"]
    mass: Float[Tensor, " N"]

    @classmethod
    def of(cls, visual: Float[Tensor, "N L"], reasoning: Float[Tensor, "N L"]) -> Levels:
        """The distributions of given log-probabilities."""
        mass = torch.stack([log_probs.exp().sum(1) for log_probs in (visual, reasoning)]).mean(0)
        return cls(visual.softmax(1), reasoning.softmax(1), mass)

    def expected(self, study: Study) -> dict[str, Float[Tensor, " N"]]:
        """Expected confidence of each kind; the overall one takes the two as independent."""
        levels, overall = study.pipeline.reader.confidence_levels(self.visual.device)
        return {
            "visual": self.visual @ levels,
            "reasoning": self.reasoning @ levels,
            "overall": torch.einsum("nv,nr,vr->n", self.visual, self.reasoning, overall),
        }


def levels_at(study: Study, places: Places) -> Levels:
    """Distributions over the levels at the places of each confidence."""
    visual, reasoning = (level_rows(study, name, places[name]) for name in CONFIDENCES)
    return Levels.of(visual, reasoning)


def expected_level(study: Study, name: str, places: Sequence[Place]) -> Float[Tensor, " N"]:
    """The expected confidence of one kind at its places; NaN in rows without one."""
    levels, _ = study.pipeline.reader.confidence_levels(study.policy.device)
    return level_rows(study, name, places).softmax(1) @ levels


def level_rows(study: Study, name: str, places: Sequence[Place]) -> Float[Tensor, "N L"]:
    """`level_distribution` at the rows of its responses; NaN in rows without a place."""
    rows = torch.full((len(study.assessment), len(study.grammar.levels)), torch.nan, device=study.policy.device)
    if places:
        rows[[place.row for place in places]] = level_distribution(study, name, places)
    return rows


def stated_places(study: Study) -> dict[str, list[Place]]:
    """The places of the stated confidences, in the tokens as sampled; none for a response that lacks one."""
    said, tokens = study.assessment.responses, study.assessment.rollouts.tokens
    spans = {name: getattr(said.spans, name) for name in CONFIDENCES}
    stated = torch.stack([span.any(1) for span in spans.values()]).all(0).nonzero()[:, 0].tolist()
    starts = {name: span.int().argmax(1).tolist() for name, span in spans.items()}
    return {
        name: [Place(row, tuple(tokens[row, : starts[name][row]].tolist())) for row in stated] for name in CONFIDENCES
    }


def text_places(study: Study, texts: Sequence[str]) -> dict[str, list[Place]]:
    """The places of the stated confidences in texts, one per response; none for a text that lacks one."""
    places: dict[str, list[Place]] = {name: [] for name in CONFIDENCES}
    for row, text in enumerate(texts):
        spans = parse(text, study.grammar).spans
        starts = {name: span[0] for name in CONFIDENCES if (span := spans[name]) is not None}
        if len(starts) == len(CONFIDENCES):
            for name, start in starts.items():
                places[name].append(Place(row, tuple(study.policy.response_tokens(text[:start]))))
    return places


def level_distribution(study: Study, name: str, places: Sequence[Place]) -> Float[Tensor, "n L"]:
    """Log-probability of stating each level, and no longer one, at each place, at temperature 1.

    A level of several tokens has the product of their probabilities; one that is a prefix of another, as 1 is of 10, is
    multiplied by the probability of not continuing to it. The exponentials of a row sum to the probability of stating
    any level.

    Args:
        study: Gives policy and prompts.
        name: The confidence at these places.
        places: Prefixes of responses.
    """
    spelled = spelled_levels(study.policy.tokenizer, study.grammar, name)
    longest = study.encoded.length + max(len(place.prefix) for place in places) + max(map(len, spelled))
    size = max(1, study.budget // longest)
    parts = [_level_log_probs(study, spelled, places[first : first + size]) for first in range(0, len(places), size)]
    return torch.cat(parts)


@torch.no_grad()
def _level_log_probs(study: Study, spelled: list[tuple[int, ...]], places: Sequence[Place]) -> Float[Tensor, "n L"]:
    """Log-probability of each level by its tokens, with one pass over all places per longest prefix of a level."""
    following: dict[tuple[int, ...], Float[Tensor, "n V"]] = {}
    for start in sorted({pieces[:-1] for pieces in spelled}, key=len, reverse=True):
        if start not in following:  # a pass over a prefix gives its own prefixes too
            states = _states(study, places, start)
            following |= {
                start[:end]: study.policy.head(states[:, end]).float().log_softmax(-1) for end in range(len(start) + 1)
            }
    columns = []
    for pieces in spelled:
        steps = [following[pieces[:end]][:, piece] for end, piece in enumerate(pieces)]
        onwards = {other[len(pieces)] for other in spelled if other != pieces and other[: len(pieces)] == pieces}
        if onwards:
            continuing = torch.tensor(sorted(onwards), device=study.policy.device)
            steps.append(following[pieces].index_fill(1, continuing, -torch.inf).logsumexp(1))
        columns.append(torch.stack(steps).sum(0))
    return torch.stack(columns, 1)


def _states(study: Study, places: Sequence[Place], start: tuple[int, ...]) -> Float[Tensor, "n s D"]:
    """The states that predict each token of `start` and the token behind it, at each place."""
    policy = study.policy
    rows = [torch.tensor([*place.prefix, *start, policy.pad_token_id], device=policy.device) for place in places]
    tokens = pad_sequence(rows, batch_first=True, padding_value=policy.pad_token_id)
    steps = torch.arange(tokens.shape[1], device=policy.device)
    lengths = torch.tensor([[len(row)] for row in rows], device=policy.device)
    hidden = torch.tensor([[place.hidden] for place in places], device=policy.device)
    # Never packed: only plain rows can hide tokens. Layers without attention are not even told which ones they were.
    layout = MaskedPrefixLayout(steps >= hidden) if hidden.any() else Plain()
    tokens = tokens.masked_fill(steps < hidden, policy.pad_token_id)
    prompt_index = torch.tensor([study.prompt_index[place.row] for place in places], device=policy.device)
    states = policy.hidden(Continuations(study.encoded, tokens, steps < lengths, prompt_index), layout)
    wanted = lengths - 1 - len(start) + torch.arange(len(start) + 1, device=policy.device)
    return states.gather(1, wanted[:, :, None].expand(-1, -1, states.shape[2]))
