"""What the shipped base can do, held to what docs/results.md says of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from vlcal.data.digits import DigitsOracle
from vlcal.data.digits.datamodule import DigitsScenes, prompt_batch
from vlcal.demo import BASE
from vlcal.policy import GroupEngine, Policy, PolicySpec
from vlcal.text import Grammar, ParsedResponse, parse

GRAMMAR = Grammar(instructions="")
SCENES = 128


@pytest.fixture(scope="module")
def base() -> Policy:
    return PolicySpec(str(BASE), dtype="float32").build()


def responses(base: Policy, hardest: float) -> Iterator[tuple[ParsedResponse, dict[str, object]]]:
    """What it samples at temperature 1 about scenes of unseen handwriting, and what is true of them."""
    scenes = DigitsScenes("test", SCENES, lambda _: (0.0, hardest), seed=3)
    prompts = prompt_batch([scenes[index] for index in range(SCENES)])
    rollouts = GroupEngine(max_new_tokens=72).sample(base, base.encode(prompts, GRAMMAR), 1, range(SCENES))
    for text, extra in zip(rollouts.texts, prompts.extras, strict=True):
        yield parse(text, GRAMMAR), dict(extra)


def test_it_takes_at_most_5_megabytes() -> None:
    assert sum(path.stat().st_size for path in BASE.iterdir()) < 5_000_000


def test_it_writes_the_form_reads_clear_scenes_and_checks_its_reading(base: Policy) -> None:
    read, checked = [], []
    for said, extra in responses(base, hardest=0.0):
        assert said.well_formed
        read.append(DigitsOracle()(said, extra)[0])
        *checks, verdict = (said.analysis or "").split()
        signs = [check[-1] for check in checks]
        checked += [
            (check[-2] == stated) == (check[-1] == "=") for stated, check in zip(said.vision or "", checks, strict=True)
        ]
        checked.append((verdict == "number=") == (signs == ["="] * 3))
    assert sum(read) / len(read) > 0.9
    assert sum(checked) / len(checked) > 0.98


def test_its_second_reading_does_not_copy_a_wrong_first_one(base: Policy) -> None:
    copied = [
        check[-2] == stated
        for said, extra in responses(base, hardest=1.0)
        if said.well_formed
        for stated, true, check in zip(said.vision or "", extra["reading"], (said.analysis or "").split(), strict=False)  # type: ignore[call-overload]
        if stated != str(true)
    ]
    assert len(copied) > 50
    assert sum(copied) / len(copied) < 0.4


def test_it_states_levels_evenly_and_concludes_wrongly_now_and_then(base: Policy) -> None:
    said = [one for one in responses(base, hardest=0.5) if one[0].well_formed]
    visual = torch.tensor([response.visual_confidence for response, _ in said])
    concluded = torch.tensor([DigitsOracle()(response, extra)[1] for response, extra in said])
    assert 0.4 < float(visual.mean()) < 0.6 and len(visual.unique()) == 11
    assert 0.05 < float((concluded == 0).float().mean()) < 0.35
