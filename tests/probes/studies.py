"""Studies of given responses to scenes of the digits world, by a real tiny model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vlcal.policy import Policy, PolicySpec, RolloutEngine
from vlcal.probes.study import Study
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import SamplingPlan, draw_seed
from vlcal.types import PromptBatch

MakeStudy = Callable[..., Study]


@pytest.fixture(scope="session")
def splitting(tmp_path_factory: pytest.TempPathFactory, grammar: Grammar) -> Policy:
    """The embedded model with a tokenizer that writes 10 as 1 and 0."""
    from vlcal.data.digits import DigitsDemonstrations
    from vlcal.policy.embedded import write_embedded_model

    corpus = DigitsDemonstrations(grammar=grammar).corpus(60)
    folder: Path = write_embedded_model(tmp_path_factory.mktemp("splitting"), corpus, grammar.tags)
    policy = PolicySpec(str(folder), dtype="float32").build()
    assert len(policy.tokenizer.encode("10", add_special_tokens=False)) == 2
    return policy


@pytest.fixture
def make_study(
    frozen_policy: Policy, make_pipeline: Callable[..., Pipeline], replay: Callable[..., RolloutEngine]
) -> MakeStudy:
    """A study of responses that were written as given; `engine` answers whatever a probe asks anew."""

    def made(
        prompts: PromptBatch,
        texts: Sequence[str],
        policy: Policy = frozen_policy,
        engine: RolloutEngine | None = None,
        seed: int = 3,
        **settings: int,
    ) -> Study:
        pipeline = make_pipeline()
        encoded = policy.encode(prompts, pipeline.reader.grammar)
        written = replay(texts)
        plan = SamplingPlan(written, len(texts) // len(prompts), seed)
        assessment = pipeline.assess(policy, ChunkedPrompts(policy, prompts, pipeline.reader.grammar), plan)
        return Study(policy, pipeline, engine or written, assessment, encoded, draw_seed(seed, "study"), **settings)

    return made


def without_image(prompts: PromptBatch, row: int) -> PromptBatch:
    """The prompts with nothing to look at in one of them."""
    images = tuple(() if place == row else shown for place, shown in enumerate(prompts.images))
    return replace(prompts, images=images)
