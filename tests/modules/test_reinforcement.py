"""Collect, update, log."""

from __future__ import annotations

import copy
import csv
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from vlcal.certainty import KLEntropyCertainty, WindowLabeler
from vlcal.errors import UserError
from vlcal.modules import ReinforcementModule
from vlcal.objectives import (
    ExactReferenceKL,
    ExpectedScore,
    NoPolicyObjective,
    NoReferenceKL,
    SampledConfidence,
    SampledReferenceKL,
)
from vlcal.policy import Continuations, FrozenCopy, LanguageModel, Policy, PolicySpec, RolloutEngine, WholeModel
from vlcal.rewards import CalibrationReward
from vlcal.text import Grammar
from vlcal.training.learner import Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.types import Assessment, PromptBatch

Scenes = Callable[[int], PromptBatch]
Replay = Callable[..., RolloutEngine]
Respond = Callable[..., list[str]]
Module = Callable[..., ReinforcementModule]


def weights(module: ReinforcementModule) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in module.policy.backbone.named_parameters()}


def updates(module: ReinforcementModule) -> int:
    """How often the optimizer moved the weights."""
    return int(next(iter(module.trainer.optimizers[0].state.values()))["step"])


@torch.no_grad()
def level_log_prob(module: ReinforcementModule, assessment: Assessment, grammar: Grammar) -> Tensor:
    """The log-probability of the visual level in each response, as the policy is now."""
    encoded = module.policy.encode(assessment.prompts, grammar)
    scored, _ = module.policy.score(Continuations.of(encoded, assessment.rollouts.tokens, assessment.rollouts.mask))
    return scored[assessment.responses.spans.visual_confidence]


def test_one_update_moves_the_adapters_and_nothing_else(
    reinforcement: Module,
    fit: Callable[..., object],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    frozen_policy: Policy,
) -> None:
    prompts = scenes(2)
    module = reinforcement(replay(respond(prompts)))
    base = dict(frozen_policy.backbone.named_parameters())

    fit(module, [prompts])

    found = weights(module)
    still = {name.replace(".base_layer", ""): weight for name, weight in found.items() if "lora" not in name}
    assert still.keys() == base.keys()
    assert all(torch.equal(still[name], weight) for name, weight in base.items())
    assert all(float(weight.abs().max()) > 0 for name, weight in found.items() if "lora_B" in name)


def test_the_log_counts_the_responses_without_visual_evidence_and_means_leave_them_out(
    reinforcement: Module, fit: Callable[..., object], scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(2)
    prompts = prompts.with_images((prompts.images[0], ()))

    steps = fit(reinforcement(replay(respond(prompts))), [prompts])

    figures, assessment = steps.figures[0], steps.outputs[0]["assessment"]  # type: ignore[attr-defined]
    measured = assessment.evidence.visual_kl[:2][assessment.responses.spans.vision[:2]]
    assert figures["train/certainty/no_evidence"] == 2
    assert figures["train/certainty/visual_kl"] == pytest.approx(float(measured.mean()), rel=1e-5)


def test_the_exact_expected_score_teaches_to_doubt_wrong_answers(
    reinforcement: Module,
    fit: Callable[..., object],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    grammar: Grammar,
) -> None:
    prompts = scenes(2)
    sure, unsure = respond(prompts, (1,), level=10), respond(prompts, (1,), level=0)
    texts = [text for pair in zip(sure, unsure, strict=True) for text in pair]
    module = reinforcement(
        replay(texts), objective=NoPolicyObjective(), confidence=ExpectedScore(visual_weight=0.0, level_weight=0.0)
    )

    steps = fit(module, [prompts] * 3)

    before = steps.outputs[0]["assessment"]  # type: ignore[attr-defined]
    gain = level_log_prob(module, before, grammar) - before.evidence.log_probs[before.responses.spans.visual_confidence]
    assert (gain[1::2] > gain[0::2] + 0.01).all()
    losses = [figures["train/objective/expected_calibration"] for figures in steps.figures]  # type: ignore[attr-defined]
    assert losses[1] < losses[0]


def test_sampled_rewards_teach_to_doubt_wrong_answers(
    reinforcement: Module,
    fit: Callable[..., object],
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    grammar: Grammar,
) -> None:
    prompts = scenes(2)
    sure, unsure = respond(prompts, (1,), level=9), respond(prompts, (1,), level=0)
    texts = [text for pair in zip(sure, unsure, strict=True) for text in pair]
    pipeline = make_pipeline()
    pipeline.rewards = {"calibration": CalibrationReward()}
    module = reinforcement(replay(texts), pipeline=pipeline, confidence=SampledConfidence())

    steps = fit(module, [prompts] * 3)

    before = steps.outputs[0]["assessment"]  # type: ignore[attr-defined]
    gain = level_log_prob(module, before, grammar) - before.evidence.log_probs[before.responses.spans.visual_confidence]
    assert (gain[1::2] > gain[0::2] + 0.01).all()


def test_responses_that_state_nothing_leave_every_weight_finite_and_in_place(
    reinforcement: Module, fit: Callable[..., object], scenes: Scenes, replay: Replay
) -> None:
    module = reinforcement(replay(["", "<vision>"] * 2), confidence=ExpectedScore(), objective=NoPolicyObjective())

    steps = fit(module, [scenes(2)])

    assert steps.figures[0]["train/objective/gradient_norm"] == 0  # type: ignore[attr-defined]
    assert all(weight.isfinite().all() for weight in weights(module).values())


def test_one_seed_gives_identical_figures_and_weights_and_another_seed_others(
    reinforcement: Module, fit: Callable[..., object], scenes: Scenes
) -> None:
    def run(seed: int) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
        torch.manual_seed(0)  # of the fresh adapters
        module = reinforcement(confidence=ExpectedScore())
        module.sampling.seed = seed
        steps = fit(module, [scenes(2)] * 2)
        return steps.figures, weights(module)  # type: ignore[attr-defined]

    (figures, found), (again, same), (other, _) = run(0), run(0), run(1)

    torch.testing.assert_close(figures, again, rtol=0, atol=0, equal_nan=True)
    assert all(torch.equal(found[name], same[name]) for name in found)
    assert figures[0]["train/response/entropy"] != other[0]["train/response/entropy"]


def test_smaller_minibatches_learn_from_the_same_experience_in_more_updates(
    reinforcement: Module, fit: Callable[..., object], scenes: Scenes
) -> None:
    optimization = Optimization(lr=1e-2, final=0.0)
    whole = reinforcement(optimization=optimization)
    parts = reinforcement(minibatch_prompts=2, optimization=optimization)

    collected, in_parts = (fit(module, [scenes(3)]).outputs[0]["experience"] for module in (whole, parts))  # type: ignore[attr-defined]

    assert collected.assessment.rollouts.texts == in_parts.assessment.rollouts.texts
    assert torch.equal(collected.assessment.evidence.log_probs, in_parts.assessment.evidence.log_probs)
    assert torch.equal(collected.advantages, in_parts.advantages)
    assert (updates(whole), updates(parts)) == (1, 2)
    assert whole.global_step == parts.global_step == 1


def test_limit_schedule_checkpoints_and_log_count_steps_however_many_updates_each_is_cut_into(
    reinforcement: Module, scenes: Scenes, replay: Replay, respond: Respond, tmp_path: Path
) -> None:
    prompts = scenes(3)
    optimization = Optimization(lr=1.0e-3, final=0.0)
    module = reinforcement(replay(respond(prompts)), minibatch_prompts=1, optimization=optimization)
    logger = CSVLogger(tmp_path, name="", version="")
    checkpoints = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=4,
        log_every_n_steps=2,
        logger=logger,
        callbacks=[checkpoints],
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using ModelCheckpoint with manual optimization", UserWarning)
        loader = DataLoader([prompts] * 9, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(module, loader, loader)

    assert (updates(module), module.global_step, trainer.fit_loop.total_batch_idx + 1) == (12, 4, 4)
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["step=2.ckpt", "step=4.ckpt"]
    with (tmp_path / "metrics.csv").open() as file:
        rows = {int(row["step"]): float(row["train/schedule/learning_rate"]) for row in csv.DictReader(file)}
    # Four steps along the cosine: 1, (2 + sqrt 2) / 4, 1 / 2, (2 - sqrt 2) / 4 of the rate; every second is logged.
    assert rows == {1: pytest.approx(1e-3 * (2 + 2**0.5) / 4), 3: pytest.approx(1e-3 * (2 - 2**0.5) / 4)}


@pytest.mark.parametrize("spec", [LanguageModel(), WholeModel()])
def test_policies_without_adapters_learn_too(
    embedded: Path,
    reinforcement: Module,
    fit: Callable[..., object],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    spec: LanguageModel | WholeModel,
) -> None:
    prompts = scenes(2)
    whole = isinstance(spec, WholeModel)
    module = reinforcement(
        replay(respond(prompts)),
        PolicySpec(str(embedded), spec, dtype="float32"),
        reference_kl=NoReferenceKL() if whole else SampledReferenceKL(0.1),
        reference=FrozenCopy(),
    )
    module.configure_model()
    before = weights(module)

    steps = fit(module, [prompts] * 2)

    moved = {name for name, weight in weights(module).items() if not torch.equal(weight, before[name])}
    assert any("language_model" in name for name in moved)
    assert any("visual" in name for name in moved) is whole
    assert whole or steps.figures[1]["train/objective/reference_kl"] > 0  # type: ignore[attr-defined]


def test_a_run_that_was_interrupted_ends_where_one_without_a_break_does(
    reinforcement: Module,
    fit: Callable[..., object],
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    tmp_path: Path,
) -> None:
    prompts = scenes(2)

    def made() -> ReinforcementModule:
        torch.manual_seed(0)  # of the fresh adapters
        pipeline = make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(64)))
        return reinforcement(replay(respond(prompts)), pipeline=pipeline, confidence=ExpectedScore())

    straight, first, second = made(), made(), made()
    fit(straight, [prompts], max_epochs=2)
    fit(first, [prompts])
    first.trainer.save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(5)
    fit(second, [prompts], max_epochs=2, ckpt_path=tmp_path / "half.ckpt")

    expected, found = weights(straight), weights(second)
    assert second.global_step == 2
    assert all(torch.equal(found[name], weight) for name, weight in expected.items() if "lora" in name)
    window = second.pipeline.state_dict()["certainty"]["labeler"]["scores"]
    assert len(window) == 8
    assert torch.equal(window, straight.pipeline.state_dict()["certainty"]["labeler"]["scores"])


def test_a_checkpoint_holds_what_learns_and_a_foreign_one_is_refused(
    embedded: Path,
    reinforcement: Module,
    trainer: Callable[..., lightning.Trainer],
    fit: Callable[..., object],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    tmp_path: Path,
) -> None:
    prompts = scenes(1)
    module = reinforcement(replay(respond(prompts)))
    fit(module, [prompts])
    module.trainer.save_checkpoint(tmp_path / "adapters.ckpt")
    other = reinforcement(replay(respond(prompts)), PolicySpec(str(embedded), LanguageModel(), dtype="float32"))

    saved = torch.load(tmp_path / "adapters.ckpt", weights_only=False)["state_dict"]

    assert len(saved) == 8 * 7 * 2 and all("lora_" in name for name in saved)
    with pytest.raises(ValueError, match="`ckpt_path` holds 112 weights, of which 0 fit this policy"):
        trainer().validate(other, DataLoader([prompts], batch_size=None), ckpt_path=tmp_path / "adapters.ckpt")


def test_validation_leaves_no_trace(
    reinforcement: Module,
    trainer: Callable[..., lightning.Trainer],
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
) -> None:
    prompts = scenes(4)
    pipeline = make_pipeline(certainty=KLEntropyCertainty(WindowLabeler(64)))
    module = reinforcement(replay(respond(prompts, (0,))), pipeline=pipeline)
    module.configure_model()
    before, random = copy.deepcopy(weights(module)), torch.random.get_rng_state()
    quiet = trainer()
    loader = DataLoader([prompts], batch_size=None, generator=torch.Generator())  # which draws a seed by itself

    found = quiet.validate(module, loader, verbose=False)[0]
    again = quiet.validate(module, loader, verbose=False)[0]

    assert found["val/calibration/accuracy"] == 1 and found["val/calibration/n"] == 4
    torch.testing.assert_close(found, again, rtol=0, atol=0, equal_nan=True)
    assert len(pipeline.state_dict()["certainty"]["labeler"]["scores"]) == 0
    assert all(torch.equal(weight, before[name]) for name, weight in weights(module).items())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_policy_without_adapters_can_be_validated_but_not_trained_with_adapters_off(
    embedded: Path,
    reinforcement: Module,
    trainer: Callable[..., lightning.Trainer],
    fit: Callable[..., object],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
) -> None:
    prompts = scenes(1)
    module = reinforcement(replay(respond(prompts, (0,))), PolicySpec(str(embedded), LanguageModel(), dtype="float32"))

    trainer().validate(module, DataLoader([prompts], batch_size=None), verbose=False)

    with pytest.raises(ValueError, match="`reference` AdapterOff needs adapters to switch off"):
        fit(module, [prompts])


@pytest.mark.parametrize("kind", [ExactReferenceKL, SampledReferenceKL])
def test_the_kl_to_the_reference_holds_the_policy_closer_to_where_it_started(
    reinforcement: Module,
    fit: Callable[..., object],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    kind: type[ExactReferenceKL | SampledReferenceKL],
) -> None:
    prompts = scenes(2)

    def drift(coefficient: float) -> float:
        torch.manual_seed(0)  # of the fresh adapters
        module = reinforcement(
            replay(respond(prompts)),
            reference_kl=kind(coefficient),
            optimization=Optimization(lr=3e-3),
        )
        figures = fit(module, [prompts] * 4).figures  # type: ignore[attr-defined]
        return figures[-1]["train/objective/reference_kl"]

    assert drift(100.0) < 0.5 * drift(1e-9)


def test_levels_of_several_tokens_are_refused_before_anything_is_sampled(
    embedded: Path, reinforcement: Module, make_pipeline: Callable[..., Pipeline]
) -> None:
    pipeline = make_pipeline()
    pipeline.reader = ResponseReader(Grammar(levels=(0, 50, 100)))

    with pytest.raises(ValueError, match=r"`grammar.levels` must be one token each .*\[50, 100\]"):
        reinforcement(pipeline=pipeline, confidence=ExpectedScore()).configure_model()


def test_a_policy_that_is_asked_for_too_early_says_when_it_is_there(reinforcement: Module) -> None:
    with pytest.raises(RuntimeError, match="`policy` is built when training or validation starts"):
        _ = reinforcement().policy


def test_a_run_without_a_well_formed_response_for_some_batches_ends_in_one_line(
    reinforcement: Module, fit: Callable[..., object], scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(1)
    engine = replay(["no\nform", "at all"])
    module = reinforcement(engine)
    module.malformed_patience = 3

    with pytest.raises(
        UserError, match=r"^`malformed_patience` is 3, .* 0% reached `max_new_tokens`; .*starts 'no\\nform'"
    ):
        fit(module, [prompts] * 4)

    assert module.global_step == 2  # nothing is learned from the third


def test_a_run_shorter_than_the_patience_says_at_its_end_that_nothing_was_learned(
    reinforcement: Module,
    fit: Callable[..., object],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    caplog: pytest.LogCaptureFixture,
) -> None:
    prompts = scenes(1)
    fit(reinforcement(replay(["no\nform", "at all"])), [prompts] * 2)
    assert "No response of the 2 training batches was well-formed" in caplog.text
    assert "--recipe warmup" in caplog.text

    caplog.clear()
    fit(reinforcement(replay(["at all", respond(prompts)[0]])), [prompts] * 2)
    assert "nothing was learned" not in caplog.text


def test_one_well_formed_response_among_many_lets_a_run_go_on(
    reinforcement: Module, fit: Callable[..., object], scenes: Scenes, replay: Replay, respond: Respond
) -> None:
    prompts = scenes(1)
    module = reinforcement(replay(["at all", respond(prompts)[0]]))
    module.malformed_patience = 1

    fit(module, [prompts] * 2)

    assert module.global_step == 2


def test_every_module_stops_a_run_that_does_not_parse(reinforcement: Module) -> None:
    assert reinforcement().malformed_patience == 10


def test_no_patience_is_refused(embedded: Path, make_pipeline: Callable[..., Pipeline]) -> None:
    with pytest.raises(UserError, match="`malformed_patience` must be at least 1 batch; got 0"):
        ReinforcementModule(PolicySpec(str(embedded)), make_pipeline(), malformed_patience=0)


def test_levels_that_the_tokenizer_splits_are_refused_before_weights_are_read(
    embedded: Path, tmp_path: Path, make_pipeline: Callable[..., Pipeline]
) -> None:
    folder = shutil.copytree(embedded, tmp_path / "without_weights")
    (folder / "model.safetensors").unlink()
    pipeline = make_pipeline()
    pipeline.reader = ResponseReader(Grammar(levels=(0, 25, 100)))
    module = ReinforcementModule(PolicySpec(str(folder)), pipeline, update=Update(confidence=ExpectedScore()))

    with pytest.raises(UserError, match=r"`grammar.levels` must be one token each .* splits \[25, 100\]"):
        module.configure_model()
