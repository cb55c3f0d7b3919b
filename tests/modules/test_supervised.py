"""Warm-up from demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightning
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from vlcal.data.digits import DigitsDemonstrations
from vlcal.modules import SupervisedModule
from vlcal.policy import Frozen, Policy, PolicySpec, WholeModel
from vlcal.policy.encode import processor_inputs
from vlcal.text import Grammar
from vlcal.training.optimization import Optimization
from vlcal.types import DemonstrationBatch


@pytest.fixture(scope="module")
def demonstrations(grammar: Grammar) -> DemonstrationBatch:
    world = DigitsDemonstrations(steps=1, batch_size=3, grammar=grammar)
    batch: DemonstrationBatch = next(iter(world.train_dataloader()))
    return batch


@torch.no_grad()
def test_the_loss_is_the_mean_over_the_tokens_of_the_completions_and_their_ends(
    embedded: Path,
    frozen_policy: Policy,
    trainer: Callable[..., lightning.Trainer],
    demonstrations: DemonstrationBatch,
    grammar: Grammar,
) -> None:
    module = SupervisedModule(PolicySpec(str(embedded), WholeModel(), dtype="float32"), grammar=grammar)
    demonstrations = replace(demonstrations, given=())

    found = trainer().validate(module, DataLoader([demonstrations], batch_size=None), verbose=False)[0]

    tokenizer, losses = frozen_policy.tokenizer, []
    for row, text in enumerate(demonstrations.completions):
        inputs = processor_inputs(frozen_policy.processor, demonstrations.prompts.select([row]), grammar)
        completion = torch.tensor([[*tokenizer.encode(text), tokenizer.eos_token_id]])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], completion], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(completion)], 1)
        logits = frozen_policy.backbone(**inputs).logits[0, -completion.shape[1] - 1 : -1]
        # Tokens that stand for pictures are never produced, so that they take no probability either.
        logits = logits.index_fill(-1, torch.tensor(frozen_policy.placeholders), -torch.inf)
        losses.append(cross_entropy(logits, completion[0], reduction="none"))
    assert found["val/loss"] == pytest.approx(float(torch.cat(losses).mean()), abs=1e-4)


@torch.no_grad()
def test_what_is_given_is_shown_and_not_imitated(
    embedded: Path, trainer: Callable[..., lightning.Trainer], demonstrations: DemonstrationBatch, grammar: Grammar
) -> None:
    """The mean over all tokens is that over the given ones and that over the others, by their numbers."""
    everything = tuple(((0, len(text)),) for text in demonstrations.completions)
    module = SupervisedModule(PolicySpec(str(embedded), WholeModel(), dtype="float32"), grammar=grammar)

    def loss(given: tuple[tuple[tuple[int, int], ...], ...]) -> tuple[float, int]:
        batch = replace(demonstrations, given=given)
        found = trainer().validate(module, DataLoader([batch], batch_size=None), verbose=False)[0]["val/loss"]
        _, mask, shown = module._completions(batch)
        return found, int((mask & ~shown).sum())

    (whole, every), (rest, kept), (ends, last) = loss(()), loss(demonstrations.given), loss(everything)

    assert every - kept == 3 * len(demonstrations.completions)  # each digit is given in one of two places
    assert last == len(demonstrations.completions)  # the end tokens alone
    assert rest != pytest.approx(whole, abs=1e-4) and ends != pytest.approx(whole, abs=1e-4)


def test_a_few_updates_lower_the_loss_and_one_seed_gives_identical_ones(
    embedded: Path, fit: Callable[..., object], demonstrations: DemonstrationBatch, grammar: Grammar
) -> None:
    def losses() -> list[float]:
        spec = PolicySpec(str(embedded), WholeModel(), dtype="float32")
        module = SupervisedModule(spec, Optimization(lr=3e-3), grammar)
        figures = fit(module, [demonstrations] * 4).figures  # type: ignore[attr-defined]
        return [figure["train/loss"] for figure in figures]

    first = losses()

    assert first[-1] < first[0] - 0.5
    assert losses() == first


def test_a_policy_with_nothing_to_learn_is_refused(
    embedded: Path, fit: Callable[..., object], demonstrations: DemonstrationBatch, grammar: Grammar
) -> None:
    module = SupervisedModule(PolicySpec(str(embedded), Frozen(), dtype="float32"), grammar=grammar)

    with pytest.raises(ValueError, match="got Frozen, where nothing learns; choose LoRA or QLoRA"):
        fit(module, [demonstrations])


def test_a_run_without_an_end_is_refused(
    embedded: Path, fit: Callable[..., object], demonstrations: DemonstrationBatch, grammar: Grammar
) -> None:
    module = SupervisedModule(PolicySpec(str(embedded), WholeModel(), dtype="float32"), grammar=grammar)

    with pytest.raises(ValueError, match="`trainer.max_steps`, or `trainer.max_epochs` .* must be set"):
        fit(module, [demonstrations], max_epochs=-1)
