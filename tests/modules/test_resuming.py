"""What a checkpoint was trained under travels in it: what becomes of a run that goes on under other settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from vlcal.certainty import KLEntropyCertainty, PlattCertainty, WindowLabeler
from vlcal.modules import ReinforcementModule
from vlcal.policy import LanguageModel, LoRA, PolicySpec
from vlcal.policy.layers import EveryLayer
from vlcal.text import Grammar
from vlcal.training.optimization import Optimization, PagedAdamW8bit
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.types import PromptBatch

Fit = Callable[..., Any]
Make = Callable[..., ReinforcementModule]
Scenes = Callable[[int], PromptBatch]


@pytest.fixture
def make(
    embedded: Path,
    reinforcement: Make,
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Callable[..., Any],
    respond: Callable[..., list[str]],
) -> Make:
    """A module with some settings of its own."""

    def made(
        spec: PolicySpec | None = None,
        grammar: Grammar | None = None,
        optimization: Optimization | None = None,
        certainty: object = None,
    ) -> ReinforcementModule:
        torch.manual_seed(0)
        pipeline = make_pipeline(certainty=certainty or KLEntropyCertainty(WindowLabeler(64)))
        if grammar is not None:
            pipeline.reader = ResponseReader(grammar)
        return reinforcement(replay(respond(scenes(2))), spec, pipeline, optimization)

    return made


@pytest.fixture
def half(make: Make, fit: Fit, scenes: Scenes, tmp_path: Path) -> Path:
    """A checkpoint behind the first of two steps."""
    module = make()
    fit(module, [scenes(2)])
    module.trainer.save_checkpoint(tmp_path / "half.ckpt")
    return tmp_path / "half.ckpt"


def test_a_checkpoint_says_what_it_was_trained_under(half: Path, embedded: Path) -> None:
    saved = torch.load(half, weights_only=True)["settings"]

    expected = {
        "policy.path": str(embedded),
        "policy.adaptation": "vlcal.policy.adaptation.LoRA",
        "policy.adaptation.rank": 2,
        "policy.adaptation.alpha": 32.0,
        "policy.adaptation.layers": "vlcal.policy.layers.LanguageLayers",
        "optimization.lr": 1e-2,
        "optimization.weight_decay": 0.01,
        "optimization.betas": [0.9, 0.999],
        "pipeline.reader.grammar.levels": list(range(11)),
        "pipeline.certainty.labeler.size": 64,
        "sampling.group_size": 2,
        "update.minibatch_prompts": 1_000_000,
    }
    assert expected.items() <= saved.items()
    assert len(saved["policy.weights"]) == 16


def test_a_setting_that_the_weights_hold_is_refused_with_both_values(
    make: Make,
    trainer: Callable[..., lightning.Trainer],
    scenes: Scenes,
    fit: Fit,
    half: Path,
    embedded: Path,
) -> None:
    def spec(**settings: Any) -> PolicySpec:
        return PolicySpec(str(embedded), LoRA(**{"rank": 2, **settings}), dtype="float32")

    cases = {
        "`policy.adaptation.alpha` 32.0, here 256.0": make(spec(alpha=256.0)),
        "`policy.adaptation.rank` 2, here 4": make(spec(rank=4)),
        "`policy.adaptation.layers` '.*LanguageLayers', here '.*EveryLayer'": make(spec(layers=EveryLayer())),
        "`pipeline.reader.grammar.levels` .*10], here .*9]": make(grammar=Grammar(tuple(range(10)), instructions="")),
    }
    loader = DataLoader([scenes(2)], batch_size=None)  # type: ignore[arg-type]
    for said, module in cases.items():
        with pytest.raises(ValueError, match=f"`ckpt_path` was trained under other settings.*: {said}"):
            trainer().validate(module, loader, ckpt_path=half, verbose=False)
    with pytest.raises(ValueError, match="`optimization.optimizer` '.*TorchAdamW', here '.*PagedAdamW8bit'"):
        fit(make(optimization=Optimization(lr=1e-2, optimizer=PagedAdamW8bit())), [scenes(2)], half, max_epochs=2)


def test_another_base_is_refused_wherever_it_lies_and_the_same_one_is_not(
    make: Make,
    trainer: Callable[..., lightning.Trainer],
    scenes: Scenes,
    half: Path,
    embedded: Path,
    tmp_path: Path,
) -> None:
    moved, other = tmp_path / "moved", tmp_path / "other"
    policy = PolicySpec(str(embedded), LanguageModel(), dtype="float32").build()
    policy.save(moved)
    with torch.no_grad():
        policy.backbone.get_decoder().layers[0].mlp.up_proj.weight.mul_(1.01)
    policy.save(other)
    loader = DataLoader([scenes(4)], batch_size=None)  # type: ignore[arg-type]  # as many as responses

    def judged(folder: Path) -> Any:
        module = make(PolicySpec(str(folder), LoRA(2), dtype="float32"))
        return trainer().validate(module, loader, ckpt_path=half, verbose=False)

    assert judged(moved)
    with pytest.raises(ValueError, match=rf"`policy.path` '{embedded}', here '{other}', `policy.weights` '\w+', here"):
        judged(other)


def test_another_learning_rate_and_decay_are_followed_and_said(
    make: Make, fit: Fit, scenes: Scenes, half: Path
) -> None:
    module = make(optimization=Optimization(lr=4e-2, weight_decay=0.5))

    with pytest.warns(UserWarning, match="other settings.*`optimization.lr` 0.01, here 0.04, .*decay` 0.01"):
        steps = fit(module, [scenes(2)], half, max_epochs=2)

    assert [group["lr"] for group in module.trainer.optimizers[0].param_groups] == [4e-2]
    assert [group["weight_decay"] for group in module.trainer.optimizers[0].param_groups] == [0.5]
    assert steps.figures[0]["train/schedule/learning_rate"] == pytest.approx(4e-2)


def test_a_memory_that_is_not_used_is_said(make: Make, fit: Fit, scenes: Scenes, half: Path) -> None:
    with pytest.warns(UserWarning, match="What pipeline.certainty remembered is not used"):
        fit(make(certainty=PlattCertainty()), [scenes(2)], half, max_epochs=2)


def test_under_the_same_settings_nothing_is_said(make: Make, fit: Fit, scenes: Scenes, half: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        fit(make(), [scenes(2)], half, max_epochs=2)
    assert not [each for each in said if "other settings" in str(each.message)]


def test_a_checkpoint_that_does_not_say_what_it_was_trained_under_is_refused(
    make: Make, fit: Fit, scenes: Scenes, half: Path
) -> None:
    saved = torch.load(half, weights_only=True)
    del saved["settings"]
    torch.save(saved, half)

    with pytest.raises(ValueError, match="must be a checkpoint that says what it was trained under"):
        fit(make(), [scenes(2)], half, max_epochs=2)
