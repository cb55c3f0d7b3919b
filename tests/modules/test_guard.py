"""Numbers that are none: the step is skipped, counted and kept, and the run ends when they stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from vlcal.advantages import GroupCentered
from vlcal.callbacks import CollapseWatch
from vlcal.data.digits import DigitsDemonstrations
from vlcal.modules import ReinforcementModule, SupervisedModule
from vlcal.objectives import ClippedSurrogate, ExactReferenceKL, ExpectedScore, NoReferenceKL
from vlcal.policy import FrozenCopy, LanguageModel, LoRA, PolicySpec, RolloutEngine
from vlcal.rewards import Attempts, Reward
from vlcal.text import Grammar
from vlcal.training import FiniteGuard, Optimization, Pipeline, ResponseReader
from vlcal.training.chunks import ChunkedPrompts
from vlcal.types import PolicyUpdate, PromptBatch

Module = Callable[..., ReinforcementModule]
Scenes = Callable[[int], PromptBatch]
Replay = Callable[..., RolloutEngine]
Respond = Callable[..., list[str]]
Fit = Callable[..., Any]


class OnePays(Reward):
    """So much for the first completion, 0 for the others."""

    def __init__(self, value: float) -> None:
        super().__init__(1.0)
        self.value = value

    def __call__(self, attempts: Attempts) -> Tensor:
        return torch.zeros(len(attempts)).index_fill(0, torch.tensor([0]), self.value)


class Breaking(ClippedSurrogate):
    """A loss that breaks in one way."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.how = how

    def __call__(self, log_probs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> PolicyUpdate:
        update = super().__call__(log_probs, old, advantages, mask)
        return PolicyUpdate(self.how(update.loss), update.stats)


class Repairing(lightning.Callback):
    """Mends the module before a batch, and keeps the weights that learn as they were before each."""

    def __init__(self, batch: int, mend: Callable[[ReinforcementModule], None]) -> None:
        self.batch, self.mend = batch, mend
        self.before: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.batch:
            self.mend(pl_module)
        self.before.append({name: weight.clone() for name, weight in pl_module.state_dict().items()})


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(weight, second[name]) for name, weight in first.items())


def broken_log_probs(module: ReinforcementModule) -> None:
    module.policy.backbone.get_output_embeddings().weight.data.fill_(torch.nan)


BREAK: dict[str, tuple[Callable[[ReinforcementModule], None], str]] = {
    "reward": (
        lambda module: module.pipeline.rewards.update(bad=OnePays(math.inf)),
        "`rewards.bad` must be finite .* got 1 of 4",
    ),
    "log-prob": (broken_log_probs, "must be finite; the model gives NaN or infinite ones in float32"),
    "loss": (
        lambda module: setattr(module.update, "objective", Breaking(lambda loss: loss * math.inf)),
        "The loss must be finite",
    ),
    "gradient": (
        lambda module: setattr(module.update, "objective", Breaking(lambda loss: (loss * 0).abs().sqrt())),
        "The gradient must be finite",
    ),
}


@pytest.fixture
def learning(
    reinforcement: Module, replay: Replay, respond: Respond, scenes: Scenes
) -> Callable[..., ReinforcementModule]:
    """A module with something to learn from two scenes."""

    def made(**settings: Any) -> ReinforcementModule:
        module = reinforcement(replay(respond(scenes(2))), reference_kl=NoReferenceKL(), **settings)
        module.pipeline.rewards = {"first": OnePays(1.0)}
        module.configure_model()
        return module

    return made


@pytest.mark.parametrize("fault", BREAK)
def test_a_step_whose_numbers_are_not_finite_moves_no_weight_and_is_counted_and_kept(
    learning: Module, fit: Fit, scenes: Scenes, tmp_path: Path, fault: str
) -> None:
    break_it, message = BREAK[fault]
    module, repairing = learning(), Repairing(1, break_it)
    module.guard = FiniteGuard(patience=2)

    with pytest.raises(ValueError, match=f"2 steps in a row were skipped: .*{message}") as ended:
        fit(module, [scenes(2)] * 4, callbacks=[repairing, CollapseWatch()], default_root_dir=tmp_path)

    first, second, third = repairing.before
    assert not same(first, second)  # the healthy step before them moved
    # Exactly the weights before, momentum of Adam included.
    assert same(second, third) and same(third, module.state_dict())
    assert all(weight.isfinite().all() for weight in module.state_dict().values())
    assert "\n" not in str(ended.value) and str(tmp_path / "skipped" / "rank0.pt") in str(ended.value)


def test_a_healthy_step_between_two_skipped_ones_keeps_the_run_alive(
    learning: Module, fit: Fit, scenes: Scenes, tmp_path: Path
) -> None:
    module = learning()
    module.guard = FiniteGuard(patience=2)
    reward = module.pipeline.rewards["first"] = OnePays(1.0)

    class Alternating(lightning.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            reward.value = math.nan if batch_idx % 2 else 1.0

    steps = fit(module, [scenes(2)] * 5, callbacks=[Alternating()], default_root_dir=tmp_path)

    assert [figures["train/skipped_steps"] for figures in steps.figures] == [0, 1, 1, 2, 2]
    assert module.global_step == 3
    assert all(weight.isfinite().all() for weight in module.state_dict().values())


def test_what_was_kept_of_a_skipped_step_replays_it(
    embedded: Path, learning: Module, fit: Fit, scenes: Scenes, grammar: Grammar, tmp_path: Path
) -> None:
    module = learning()
    module.guard = FiniteGuard(patience=1)
    with pytest.raises(ValueError, match="1 steps in a row"):
        fit(
            module,
            [scenes(2)] * 3,
            callbacks=[Repairing(1, BREAK["reward"][0])],
            default_root_dir=tmp_path,
        )

    kept = torch.load(tmp_path / "skipped" / "rank0.pt", weights_only=True)

    again = PolicySpec(str(embedded), LoRA(2), dtype="float32").build()
    loaded = {name.removeprefix("_policy."): weight for name, weight in kept["weights"].items()}
    assert not again.load_state_dict(loaded, strict=False).unexpected_keys
    prompts = PromptBatch(
        **{name: tuple(kept["batch"][name]) for name in ("ids", "questions", "targets")},
        images=tuple(map(tuple, kept["batch"]["images"])),
        extras=({},) * len(kept["batch"]["ids"]),
    )
    plan, pipeline = module.sampling.training_plan(kept["step"]), module.pipeline
    chunked = ChunkedPrompts(again, prompts, grammar)
    assert kept["step"] == 1 and prompts.ids == scenes(2).ids
    pipeline.reader = ResponseReader(grammar)  # the oracle of the scenes asks for more than was kept
    with pytest.raises(ValueError, match="`rewards.bad` must be finite"):
        pipeline.collect(again, chunked, plan, module.update.correction)


def test_a_demonstration_that_breaks_the_loss_is_skipped_too(
    embedded: Path, fit: Fit, grammar: Grammar, tmp_path: Path
) -> None:
    data = DigitsDemonstrations(steps=1, batch_size=2, grammar=grammar)
    batch = next(iter(data.train_dataloader()))
    spec = PolicySpec(str(embedded), LanguageModel(), dtype="float32")
    module = SupervisedModule(spec, Optimization(lr=1e-3), grammar, FiniteGuard(patience=2))
    module.configure_model()

    with pytest.raises(ValueError, match="2 steps in a row were skipped: Hidden states of completions must be finite"):
        fit(module, [batch] * 4, callbacks=[Repairing(2, _broken_decoder)], default_root_dir=tmp_path)

    assert module.global_step == 2


def _broken_decoder(module: Any) -> None:
    module.policy.backbone.get_decoder().norm.weight.data.fill_(torch.inf)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # of a first step that was skipped
def test_a_loss_scale_that_was_too_high_is_lowered_and_the_gradient_is_clipped_as_it_is(
    learning: Module, fit: Fit, scenes: Scenes
) -> None:
    def run(**precision: Any) -> Any:
        torch.manual_seed(0)  # of the fresh adapters
        steep = Breaking(lambda loss: 1e6 * loss)
        module = learning(objective=steep, optimization=Optimization(lr=1e-2, clip=1e-3))
        return fit(module, [scenes(2)] * 2, **precision), module

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, backoff_factor=2.0**-110)  # the first gradient overflows
    mixed = MixedPrecision("16-mixed", "cpu", scaler)
    mixed.autocast_context_manager = lambda: torch.autocast("cpu", enabled=False)  # type: ignore[method-assign,assignment]

    steps, module = run(plugins=[mixed])

    norms = [figures["train/objective/gradient_norm"] for figures in steps.figures]
    exact, _ = run()
    assert not math.isfinite(norms[0]) and scaler.get_scale() < 2.0**126
    assert norms[1] == pytest.approx(exact.figures[0]["train/objective/gradient_norm"], rel=1e-2)
    assert module.guard.skipped == 0


CASES = {
    "flat groups": lambda good, prompts: good,
    "all malformed": lambda good, prompts: ["", "<vision>", "no idea", "\\boxed{"],
    "empty vision spans": lambda good, prompts: [text.replace(_seen(text), "") for text in good],
    "one-token spans": lambda good, prompts: [text.replace(_seen(text), "4") for text in good],
    "responses of length 1": lambda good, prompts: [""] * len(good),
    "responses of maximal length": lambda good, prompts: [text + " and so on" * 40 for text in good],
}


def _seen(text: str) -> str:
    return text.partition("<vision>")[2].partition("</vision>")[0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_batch_however_odd_gives_a_weight_or_a_reward_that_is_no_number(
    embedded: Path,
    reinforcement: Module,
    fit: Fit,
    make_pipeline: Callable[..., Pipeline],
    scenes: Scenes,
    replay: Replay,
    respond: Respond,
    tmp_path: Path,
    case: str,
    dtype: str,
) -> None:
    prompts = scenes(2)
    texts = CASES[case](respond(prompts, offsets=(0, 0)), prompts)
    module = reinforcement(
        replay(texts), PolicySpec(str(embedded), LoRA(2), dtype=dtype), make_pipeline(), confidence=ExpectedScore()
    )

    steps = fit(module, [prompts] * 2, default_root_dir=tmp_path)

    assert module.guard.skipped == 0 and module.global_step == 2
    assert all(weight.isfinite().all() for weight in module.state_dict().values())
    for outputs, figures in zip(steps.outputs, steps.figures, strict=True):
        assert outputs["experience"].advantages.isfinite().all()
        assert outputs["assessment"].rewards.total.isfinite().all()
        assert math.isfinite(figures["train/objective/gradient_norm"])
        assert all(math.isfinite(figures[f"train/response/{name}"]) for name in ("entropy", "sampling_mismatch"))


@pytest.mark.parametrize("reference", ["copy", "adapters off"])
def test_a_batch_without_a_signal_moves_no_weight_however_sensitive_adam_is_to_rounding(
    embedded: Path, reinforcement: Module, fit: Fit, scenes: Scenes, replay: Replay, respond: Respond, reference: str
) -> None:
    # Divided by the root of its square, a gradient of rounding errors is as long as any other.
    copied = reference == "copy"
    module = reinforcement(
        replay(respond(scenes(2), offsets=(0, 0))),
        PolicySpec(str(embedded), LanguageModel() if copied else LoRA(2), dtype="float32"),
        reference_kl=ExactReferenceKL(4.0),
        **({"reference": FrozenCopy()} if copied else {}),
        optimization=Optimization(lr=1e-2, weight_decay=0.0),
    )
    module.pipeline.advantages = GroupCentered()
    module.configure_model()
    before = {name: weight.clone() for name, weight in module.state_dict().items()}

    steps = fit(module, [scenes(2)])

    assert steps.figures[0]["train/objective/gradient_norm"] == 0
    assert same(before, module.state_dict())


def test_a_guard_without_patience_is_refused() -> None:
    with pytest.raises(ValueError, match="`patience` must be at least 1, .* got 0"):
        FiniteGuard(0)
