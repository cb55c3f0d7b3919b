"""What confidences are worth when they are stated without reading the response."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.evaluation.levels import (
    CONFIDENCES,
    OPENING,
    Levels,
    Place,
    level_rows,
    levels_at,
    spelled_levels,
    stated_places,
)
from vlcal.evaluation.probes.base import KINDS, Columns, Probe, counts, gap, known_mean, mean_where, told_apart
from vlcal.evaluation.study import Study
from vlcal.policy.rollout import written_tokens
from vlcal.text import parse, token_offsets
from vlcal.text.grammar import LAYOUT
from vlcal.types import Rollouts

TAGS = [tag for tag, _ in LAYOUT]
BLOCK = TAGS[TAGS.index(OPENING["visual_confidence"]) - 1]  # what holds both confidences


class HiddenResponse(Probe):
    """Keeps the response from the attention of the confidence block and reads the confidences anew.

    A confidence that judges this response rises on right ones and falls on wrong ones when the response can be read;
    one that judges the question alone does neither. The change on right responses less that on wrong ones is the
    correctness-conditional form: a shift of all confidences leaves it 0.

    Tokens and places are those of the response as it was sampled; only the view is taken. The reasoning confidence
    follows a visual one, which would tell what the response was like: it reads one drawn from the distribution that
    the visual confidence has without the response.
    """

    def __call__(self, study: Study) -> Columns:
        places, hidden = _places(study)
        read = levels_at(study, places)
        blind = _blind(study, places, hidden)
        said = study.experience.responses
        columns = {
            "overall truth": said.correct,
            "visual truth": said.read_right,
            "reasoning truth": said.reasoned_right,
            "mass read": read.mass,
            "mass hidden": blind.mass,
        }
        for when, levels in (("read", read), ("hidden", blind)):
            columns |= {f"{kind} {when}": values for kind, values in levels.expected(study).items()}
        return columns

    def summarize(self, columns: Columns) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for kind in KINDS:
            read, hidden, truth = (columns[f"{kind} {name}"] for name in ("read", "hidden", "truth"))
            own = not bool(truth.isnan().all())
            truth = truth if own else columns["overall truth"]
            change = read - hidden
            right, wrong = mean_where(change, truth >= 0.5), mean_where(change, truth < 0.5)
            figures[kind] = {
                "mean_read": known_mean(read),
                "mean_hidden": known_mean(hidden),
                "auroc_read": told_apart(read, truth),
                "auroc_hidden": told_apart(hidden, truth),
                "change_on_right": right,
                "change_on_wrong": wrong,
                "change_right_less_wrong": gap(right, wrong),
                "judged_by": kind if own else "overall",
            }
        mass = {f"mean_{when}": known_mean(columns[f"mass {when}"]) for when in ("read", "hidden")}
        return {**figures, "level_mass": mass, "responses": counts(columns["overall read"])}


def _places(study: Study) -> tuple[dict[str, list[Place]], list[int]]:
    """Where the confidences stand in the responses that state both in a block, and how much stands ahead of that."""
    stated = stated_places(study)
    found: dict[str, list[Place]] = {name: [] for name in CONFIDENCES}
    hidden = []
    for pair in zip(*(stated[name] for name in CONFIDENCES), strict=True):
        ahead = _tokens_ahead(study, pair[0].row)
        if 0 < ahead <= len(pair[0].prefix) < len(pair[1].prefix):
            hidden.append(ahead)
            for name, place in zip(CONFIDENCES, pair, strict=True):
                found[name].append(place)
    return found, hidden


def _tokens_ahead(study: Study, row: int) -> int:
    """Tokens that end before the block of confidences starts; 0 where there is no block."""
    rollouts: Rollouts = study.experience.rollouts
    text, offsets = token_offsets(
        study.policy.tokenizer, written_tokens(study.policy, rollouts.tokens[row], rollouts.mask[row])
    )
    start = parse(text, study.grammar).spans["visual_confidence"]
    block = -1 if start is None else text.rfind(BLOCK, 0, start[0])
    return sum(end <= block for _, end in offsets)


def _blind(study: Study, places: dict[str, list[Place]], hidden: list[int]) -> Levels:
    """Distributions over the levels with that much of each response out of sight."""
    visual, reasoning = CONFIDENCES
    seeing = [replace(place, hidden=count) for place, count in zip(places[visual], hidden, strict=True)]
    first = level_rows(study, visual, seeing)
    drawn = _drawn(study, first[[place.row for place in seeing]])
    spelled = spelled_levels(study, visual)
    spans = study.experience.responses.spans.visual_confidence.sum(1).tolist()
    following = []
    for place, ahead, level in zip(places[reasoning], seeing, drawn, strict=True):
        stated = len(ahead.prefix) + spans[place.row]
        prefix = (*ahead.prefix, *spelled[level], *place.prefix[stated:])
        following.append(replace(place, prefix=prefix, hidden=ahead.hidden))
    return Levels.of(first, level_rows(study, reasoning, following))


def _drawn(study: Study, log_probs: Float[Tensor, "n L"]) -> list[int]:
    """The index of one level per row, drawn from its distribution."""
    if not len(log_probs):
        return []
    rng = torch.Generator().manual_seed(study.draw_seed("hidden response"))
    drawn: list[int] = torch.multinomial(log_probs.softmax(1).cpu(), 1, generator=rng)[:, 0].tolist()
    return drawn
