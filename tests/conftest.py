"""What every test runs under: no network, one thread, checked tensor shapes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch and transformers are imported, which read these once; commands that tests start inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # every worker has a core to itself: more threads would only wait for each other

import jaxtyping
import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from vlcal.policy import Policy, RolloutEngine
    from vlcal.text import Grammar
    from vlcal.training.pipeline import Pipeline
    from vlcal.types import PromptBatch

SHAPE_CHECKED = (
    "vlcal.functional",
    "vlcal.scores",
    "vlcal.advantages",
    "vlcal.objectives",
    "vlcal.certainty",
    "vlcal.rewards",
    "vlcal.perturbations",
    "vlcal.policy.layouts",
)

# Only modules imported from here on are checked, so nothing above may import vlcal. Never uninstalled: doctests and
# tests that import late are checked like the others.
# An int counts as a float, as it does for mypy.
jaxtyping.install_import_hook(SHAPE_CHECKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# A first call compiles its shape checks, which takes longer than the time limit of an example. The parent keeps
# what Hypothesis chose for CI.
settings.register_profile("vlcal", parent=settings.default, deadline=None)
# The long look at every property: `pytest --hypothesis-profile nightly tests/verifiers`.
settings.register_profile("nightly", parent=settings.get_profile("vlcal"), max_examples=10_000)
settings.load_profile("vlcal")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="there is no GPU here"))


@pytest.fixture
def shapes_unchecked() -> Iterator[None]:
    """Lets a wrong shape or type through to the code's own refusal, which is what a user meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draws that a test does not seed itself are the same in every order and on every worker."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def grammar() -> Grammar:
    """The form of a response without the words that ask for it, as the embedded model is taught."""
    from vlcal.text import Grammar

    return Grammar(instructions="")


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, grammar: Grammar) -> Path:
    """A checkpoint folder of the embedded model, untrained."""
    from vlcal.data.digits import DigitsDemonstrations
    from vlcal.policy.embedded import write_embedded_model

    corpus = DigitsDemonstrations(grammar=grammar).corpus(60)
    return write_embedded_model(tmp_path_factory.mktemp("embedded"), corpus, [*grammar.tags, "10"])


@pytest.fixture(scope="session")
def frozen_policy(embedded: Path) -> Policy:
    """The embedded model with nothing to learn, for tests that leave it as it is."""
    from vlcal.policy import PolicySpec

    return PolicySpec(str(embedded), dtype="float32").build()


@pytest.fixture(scope="session")
def scenes() -> Callable[[int], PromptBatch]:
    """That many questions about scenes of the digits world, always the same ones."""
    from vlcal.data.digits import DigitsPrompts

    return lambda count: next(iter(DigitsPrompts(steps=1, batch_size=count).train_dataloader()))


@pytest.fixture(scope="session")
def replay(grammar: Grammar) -> Callable[..., RolloutEngine]:
    """An engine that writes given responses, in prompt-major order, in place of sampling any."""
    from torch.nn.utils.rnn import pad_sequence

    from vlcal.policy import Continuations, EncodedPrompts, RolloutEngine
    from vlcal.types import Rollouts

    class Replay(RolloutEngine):
        def __init__(self, texts: Sequence[str]) -> None:
            super().__init__()
            self.texts = tuple(texts)

        def sample(
            self,
            policy: Policy,
            encoded: EncodedPrompts,
            group_size: int,
            seeds: Sequence[int],
            starts: Sequence[Sequence[int]] | None = None,
        ) -> Rollouts:
            texts = self.texts[: len(encoded) * group_size]  # a study of some responses asks for fewer
            rows = [torch.tensor([*policy.response_tokens(text), policy.end_tokens[0]]) for text in texts]
            lengths = torch.tensor([len(row) for row in rows])
            tokens = pad_sequence(rows, batch_first=True, padding_value=policy.pad_token_id)
            mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).to(policy.device)
            tokens = tokens.to(policy.device)
            return Rollouts(
                tokens=tokens,
                mask=mask,
                log_probs=policy.score(Continuations.of(encoded, tokens, mask))[0],
                texts=texts,
                truncated=torch.zeros(len(rows), dtype=torch.bool, device=policy.device),
                group_size=group_size,
            )

    return Replay


@pytest.fixture(scope="session")
def respond(grammar: Grammar) -> Callable[..., list[str]]:
    """Well-formed responses to every prompt, one per offset that is added to the true answer."""

    def responses(prompts: PromptBatch, offsets: Sequence[int] = (0, 1), level: int = 7) -> list[str]:
        return [
            grammar.render(
                vision="".join(map(str, extra["reading"])),
                reasoning=extra["question"].reason(extra["reading"]),
                answer=str(int(target) + offset),
                analysis="clear",
                visual_level=level,
                reasoning_level=10 - offset,
            )
            for target, extra in zip(prompts.targets, prompts.extras, strict=True)
            for offset in offsets
        ]

    return responses


@pytest.fixture
def make_pipeline(grammar: Grammar) -> Callable[..., Pipeline]:
    """A pipeline that rewards right answers and the form, with some parts of its own."""
    from vlcal.data.digits import DigitsOracle
    from vlcal.rewards import AccuracyReward, FormatReward
    from vlcal.training.pipeline import Pipeline
    from vlcal.training.reader import ResponseReader

    def made(**parts: object) -> Pipeline:
        reader = ResponseReader(grammar, oracle=DigitsOracle())
        return Pipeline(reader, {"accuracy": AccuracyReward(), "format": FormatReward(0.5)}, **parts)  # type: ignore[arg-type]

    return made
