"""Confidences after the reading of the image is altered: the direct and the total effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlcal.errors import UserError
from vlcal.evaluation.metrics.levels import RIGHT
from vlcal.parts import fresh_defaults
from vlcal.perturbations import Blank
from vlcal.policy import Continuations
from vlcal.probes.base import Columns, Probe, counts, gap, known_auroc, known_mean
from vlcal.probes.levels import expected_level, stated_places, text_places
from vlcal.probes.readouts import ReadingLikelihood
from vlcal.probes.study import Study
from vlcal.text import parse
from vlcal.text.alterations import Alteration, OtherWord
from vlcal.text.grammar import CONFIDENCES

VISUAL, _ = CONFIDENCES
EFFECTS = ("direct", "total")
MEASURED = (
    "likelihood altered",
    *(f"{e} {where} {which}" for e in EFFECTS for where in ("image", "blank") for which in ("true", "altered")),
)


class AlteredReading(Probe):
    """Alters a reading that the image shows clearly and measures the fall of the expected visual confidence.

    Of each prompt one response is asked, since two readings of a clear image are mostly the same. Direct: the rest of
    the response stays. Total: the policy writes everything behind the reading anew, as sampled, once behind the true
    and once behind the altered one, by the same random numbers. The same on a blank image says how much of the fall
    the image accounts for. The fall of the likelihood of the reading is its ceiling.

    Args:
        alteration: What makes another reading.
        readable: Least likelihood of the reading, in [0, 1]; a reading known to be false is left out.
    """

    @fresh_defaults
    def __init__(self, alteration: Alteration = OtherWord(), readable: float = 0.8) -> None:
        if not 0 <= readable <= 1:
            raise UserError(f"`readable` must be a likelihood in [0, 1]; got {readable}.")
        self.alteration = alteration
        self.readable = readable

    def __call__(self, study: Study) -> Columns:
        true, altered, ends = self.altered(study)
        likelihood = ReadingLikelihood()(study)["visual"]
        absent = torch.full_like(likelihood, torch.nan)
        asked = _first_of_each_prompt(study, true).to(likelihood.device)
        columns = {
            "likelihood true": likelihood.masked_fill(~asked, torch.nan),
            "perception_correct": study.assessment.responses.perception_correct,
        }
        rows = self._kept(columns).nonzero()[:, 0]
        found = dict.fromkeys(MEASURED, absent[rows])
        if len(rows):
            texts = {"true": [true[row] for row in rows.tolist()], "altered": [altered[row] for row in rows.tolist()]}
            places = dict(zip(texts, zip(*(ends[row] for row in rows.tolist()), strict=True), strict=True))
            found = self._measured(study.of(rows), texts, places)
        return columns | {name: absent.index_copy(0, rows, values.to(absent)) for name, values in found.items()}

    def _measured(
        self, study: Study, texts: dict[str, list[str]], ends: dict[str, tuple[int, ...]]
    ) -> dict[str, Tensor]:
        """What is measured on the true and on the altered texts, of which each has its reading end at a place."""
        found = {"likelihood altered": reading_likelihood(study, texts["altered"], ends["altered"])}
        for which, said in texts.items():
            starts = [text[:end] for text, end in zip(said, ends[which], strict=True)]
            found |= {f"{name} {which}": values for name, values in self._effects(study, said, starts).items()}
        return found

    def _kept(self, columns: Columns) -> Bool[Tensor, " N"]:
        """True where the reading is likely enough and not known to be false."""
        return (columns["likelihood true"] >= self.readable) & ~(columns["perception_correct"] < RIGHT)

    def _effects(self, study: Study, texts: list[str], starts: list[str]) -> dict[str, Tensor]:
        """The expected visual confidence of each text, and behind each start written anew, on both images."""
        effects: dict[str, Tensor] = {}
        for where, shown in (("image", study), ("blank", on_blank_images(study))):
            again = regenerated(shown, starts)
            effects[f"direct {where}"] = expected_level(shown, VISUAL, text_places(shown, texts)[VISUAL])
            effects[f"total {where}"] = expected_level(again, VISUAL, stated_places(again)[VISUAL])
        return effects

    def summarize(self, columns: Columns) -> dict[str, Any]:
        kept, true = self._kept(columns), columns["likelihood true"]
        chosen = {name: values[kept] for name, values in columns.items()}
        effects = {effect: _effect(chosen, effect) for effect in EFFECTS}
        ceiling = known_mean(chosen["likelihood true"] - chosen["likelihood altered"])
        total = effects["total"]
        return {
            "altered_auroc": total["auroc"],
            "altered_fall": total["fall"],
            "altered_fall_ceiling": ceiling,
            "altered_fall_on_blank": total["fall_on_blank"],
            **effects,
            "responses": counts(torch.where(kept, true, torch.nan)),
        }

    def altered(self, study: Study) -> tuple[list[str], list[str], list[tuple[int, int]]]:
        """True and altered texts, empty where there is no other reading, and where the reading ends in each."""
        texts = study.assessment.rollouts.texts
        parsed = [parse(text, study.grammar) for text in texts]
        spans = [said.spans["vision"] if all(said.spans[name] for name in CONFIDENCES) else None for said in parsed]
        readings = ["" if span is None else text[slice(*span)] for text, span in zip(texts, spans, strict=True)]
        true, altered, ends = [""] * len(texts), [""] * len(texts), [(0, 0)] * len(texts)
        seeds = study.draw_seeds("altered reading")
        for row, (text, span) in enumerate(zip(texts, spans, strict=True)):
            others = [reading for place, reading in enumerate(readings) if place != row]
            rng = Random(f"{seeds[study.prompt_index[row]]} {row % study.assessment.rollouts.group_size}")
            other = None if span is None else self.alteration(readings[row], others, rng)
            if span is not None and other is not None:
                true[row], altered[row] = text, f"{text[: span[0]]}{other}{text[span[1] :]}"
                ends[row] = span[1], span[0] + len(other)
        return true, altered, ends


def _first_of_each_prompt(study: Study, texts: Sequence[str]) -> Bool[Tensor, " N"]:
    """True at the first response of each prompt that has a text."""
    first: dict[int, int] = {}
    for row, (owner, text) in enumerate(zip(study.prompt_index, texts, strict=True)):
        if text:
            first.setdefault(owner, row)
    chosen = torch.zeros(len(texts), dtype=torch.bool)
    chosen[list(first.values())] = True
    return chosen


def _effect(columns: Columns, effect: str) -> dict[str, float | None]:
    """How far the expected visual confidence falls, on the image and on a blank one."""
    true, altered = (columns[f"{effect} image {which}"] for which in ("true", "altered"))
    blank = known_mean(columns[f"{effect} blank true"] - columns[f"{effect} blank altered"])
    fall = known_mean(true - altered)
    truth = torch.cat([torch.ones_like(true), torch.zeros_like(altered)])
    return {
        "auroc": known_auroc(torch.cat([true, altered]), truth),
        "fall": fall,
        "fall_on_blank": blank,
        "fall_less_blank": gap(fall, blank),
    }


def regenerated(study: Study, starts: Sequence[str]) -> Study:
    """The study of responses that begin with given text, one per response, and are sampled on from there."""
    assessment, policy = study.assessment, study.policy
    tokens = [policy.response_tokens(start) if start else [] for start in starts]
    size, seeds = assessment.rollouts.group_size, study.draw_seeds("regenerated")
    rollouts = study.engine.sample(policy, study.encoded, size, seeds, tokens)
    responses = study.pipeline.reader.read(policy, assessment.prompts, rollouts)
    return replace(study, assessment=replace(assessment, rollouts=rollouts, responses=responses))


def on_blank_images(study: Study) -> Study:
    """The same responses to the same questions about images of their mean colour."""
    prompts, blank, rng = study.assessment.prompts, Blank(), torch.Generator()
    shown = tuple(tuple(blank(image, rng, study.policy.grid(image)) for image in images) for images in prompts.images)
    faded = prompts.with_images(shown)
    assessment = replace(study.assessment, prompts=faded)
    return replace(study, assessment=assessment, encoded=study.policy.encode(faded, study.grammar))


@torch.no_grad()
def reading_likelihood(study: Study, texts: Sequence[str], ends: Sequence[int]) -> Float[Tensor, " N"]:
    """exp(sum of log p) over the tokens of the vision part of each text at temperature 1."""
    policy = study.policy
    spans = [parse(text, study.grammar).spans["vision"] for text in texts]
    starts = [text[: span[0]] if span else text for text, span in zip(texts, spans, strict=True)]
    ahead = torch.tensor([[len(policy.response_tokens(start))] for start in starts], device=policy.device)
    rows = [
        torch.tensor(policy.response_tokens(text[:end]), device=policy.device)
        for text, end in zip(texts, ends, strict=True)
    ]
    tokens = pad_sequence(rows, batch_first=True, padding_value=policy.pad_token_id)
    steps = torch.arange(tokens.shape[1], device=policy.device)
    mask = steps < torch.tensor([[len(row)] for row in rows], device=policy.device)
    log_probs = torch.zeros(tokens.shape, device=policy.device)
    for each in policy.micro_batches(Continuations.of(study.encoded, tokens, mask), study.budget):
        log_probs[each.rows] = policy.score(each)[0]
    return torch.where(mask & (steps >= ahead), log_probs, 0).sum(1).clamp(max=0).exp()
