"""Confidences stated while the response is hidden from attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlcal.evaluation.metrics.levels import RIGHT
from vlcal.policy.engines.base import written
from vlcal.policy.engines.draws import uniform_numbers
from vlcal.probes.base import KINDS, Columns, Probe, counts, gap, known_auroc, known_mean, mean_where
from vlcal.probes.levels import Levels, Place, level_rows, levels_at, stated_places
from vlcal.probes.study import Study
from vlcal.text import parse
from vlcal.text.grammar import CONFIDENCES, LAYOUT, OPENING
from vlcal.text.levels import spelled_levels
from vlcal.types import Rollouts

TAGS = [tag for tag, _ in LAYOUT]
BLOCK = TAGS[TAGS.index(OPENING["visual_confidence"]) - 1]  # opens the block of both confidences


class HiddenResponse(Probe):
    """Masks the response from the attention of the confidence block and computes the confidences again.

    A confidence that depends on the response is higher on correct responses and lower on incorrect ones when the
    response is visible; one that depends on the question alone is not. The change on correct responses minus that on
    incorrect ones is the correctness-conditional effect: a shift of all confidences leaves it 0.

    Tokens and positions are those of the response as sampled; the mask alone differs. The reasoning confidence follows
    the visual one, which would reveal the hidden response: it is conditioned on a visual confidence drawn from the
    distribution without the response.
    """

    def __call__(self, study: Study) -> Columns:
        places, hidden = _places(study)
        read = levels_at(study, places)
        blind = _masked_levels(study, places, hidden)
        said = study.assessment.responses
        columns = {
            "overall truth": said.correct,
            "visual truth": said.perception_correct,
            "reasoning truth": said.reasoning_correct,
            "mass read": read.mass,
            "mass hidden": blind.mass,
        }
        for when, levels in (("read", read), ("hidden", blind)):
            columns |= {f"{kind} {when}": values for kind, values in levels.expected(study).items()}
        return columns

    def summarize(self, columns: Columns) -> dict[str, Any]:
        summary: dict[str, Any] = {}
        for kind in KINDS:
            read, hidden, truth = (columns[f"{kind} {name}"] for name in ("read", "hidden", "truth"))
            own = not bool(truth.isnan().all())
            truth = truth if own else columns["overall truth"]
            change = read - hidden
            right, wrong = mean_where(change, truth >= RIGHT), mean_where(change, truth < RIGHT)
            summary[kind] = {
                "mean_read": known_mean(read),
                "mean_hidden": known_mean(hidden),
                "auroc_read": known_auroc(read, truth),
                "auroc_hidden": known_auroc(hidden, truth),
                "change_on_right": right,
                "change_on_wrong": wrong,
                "change_right_less_wrong": gap(right, wrong),
                "judged_by": kind if own else "overall",
            }
        mass = {f"mean_{when}": known_mean(columns[f"mass {when}"]) for when in ("read", "hidden")}
        return {**summary, "level_mass": mass, "responses": counts(columns["overall read"])}


def _places(study: Study) -> tuple[dict[str, list[Place]], list[int]]:
    """The places of both confidences in responses with a confidence block, and the tokens ahead of each block."""
    stated = stated_places(study)
    places: dict[str, list[Place]] = {name: [] for name in CONFIDENCES}
    hidden = []
    for pair in zip(*(stated[name] for name in CONFIDENCES), strict=True):
        ahead = _tokens_ahead(study, pair[0].row)
        if 0 < ahead <= len(pair[0].prefix) < len(pair[1].prefix):
            hidden.append(ahead)
            for name, place in zip(CONFIDENCES, pair, strict=True):
                places[name].append(place)
    return places, hidden


def _tokens_ahead(study: Study, row: int) -> int:
    """Tokens that end before the confidence block starts; 0 without a block."""
    rollouts: Rollouts = study.assessment.rollouts
    text, offsets = written(study.policy, rollouts.tokens[row], rollouts.mask[row])
    start = parse(text, study.grammar).spans["visual_confidence"]
    block = -1 if start is None else text.rfind(BLOCK, 0, start[0])
    return sum(end <= block for _, end in offsets)


def _masked_levels(study: Study, places: dict[str, list[Place]], hidden: list[int]) -> Levels:
    """Distributions over the levels with the first `hidden` tokens of each response masked."""
    visual, reasoning = CONFIDENCES
    masked = [replace(place, hidden=count) for place, count in zip(places[visual], hidden, strict=True)]
    first = level_rows(study, visual, masked)
    drawn = _drawn(study, first, [place.row for place in masked])
    spelled = spelled_levels(study.policy.tokenizer, study.grammar, visual)
    spans = study.assessment.responses.spans.visual_confidence.sum(1).tolist()
    following = []
    for place, ahead, level in zip(places[reasoning], masked, drawn, strict=True):
        stated = len(ahead.prefix) + spans[place.row]
        prefix = (*ahead.prefix, *spelled[level], *place.prefix[stated:])
        following.append(replace(place, prefix=prefix, hidden=ahead.hidden))
    return Levels.of(first, level_rows(study, reasoning, following))


def _drawn(study: Study, log_probs: Float[Tensor, "N L"], rows: list[int]) -> list[int]:
    """The index of one level for each of these rows, drawn by inversion of its distribution."""
    uniform = uniform_numbers(study.draw_seeds("hidden response"), study.assessment.rollouts.group_size, 1)
    mass = log_probs[rows].double().softmax(1).cpu().cumsum(1)
    at = torch.searchsorted(mass, uniform[rows].double() * mass[:, -1:], right=True).clamp(max=log_probs.shape[1] - 1)
    drawn: list[int] = at[:, 0].tolist()
    return drawn
