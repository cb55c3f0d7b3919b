"""Reinforcement learning: collect, update, log."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from vlcal.errors import UserError
from vlcal.evaluation.metrics.training import CalibrationMetrics, Outcomes, summarize
from vlcal.modules.policy_module import PolicyModule
from vlcal.parts import fresh_defaults
from vlcal.policy import Policy, PolicySpec
from vlcal.text.levels import level_tokens
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.counterfactual import own_and_counterfactual
from vlcal.training.guard import FiniteGuard
from vlcal.training.learner import Learner, Update
from vlcal.training.limits import Limits
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.ranks import added, of_all_ranks
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import Sampling
from vlcal.types import Assessment, PolicyUpdate, PromptBatch

logger = logging.getLogger(__name__)

WAYS_TO_THE_FORM = (
    "Raise `max_new_tokens` where they are cut, change `instructions` of the grammar or `template` of the policy, or "
    "teach the form on your own data first: `vlcal init DATA --recipe warmup` (docs/guide/own_data.md)."
)


class ReinforcementModule(PolicyModule):
    """Teaches a policy to state calibrated confidences.

    Every step hands callbacks its responses as `outputs["assessment"]`, in training as in validation, testing and
    prediction. A training step adds `outputs["experience"]`, what it learned from, and `outputs["seconds"]` of its
    phases; one that was skipped hands on `{"skipped": True}` alone. Counterfactual completions are part of the
    experience alone.

    Args:
        policy: Checkpoint and adaptation; built when training or validation starts.
        pipeline: From prompts to experience.
        sampling: Completions per prompt and how they are sampled, in training and in validation.
        update: The terms of the loss, and how an experience is cut into updates.
        optimization: How weights are updated.
        malformed_patience: Training batches in a row without one well-formed response, on any rank, after which the run
            stops: a form that never occurs is never rewarded, nor is anything that is stated in it.
        guard: What becomes of a step whose numbers are not finite.
    """

    @fresh_defaults
    def __init__(
        self,
        policy: PolicySpec,
        pipeline: Pipeline,
        sampling: Sampling = Sampling(),
        update: Update = Update(),
        optimization: Optimization = Optimization(),
        malformed_patience: int = 10,
        guard: FiniteGuard = FiniteGuard(),
    ) -> None:
        super().__init__(policy, optimization, guard)
        if malformed_patience < 1:
            raise UserError(f"`malformed_patience` must be at least 1 batch; got {malformed_patience}.")
        sampling.check(pipeline.reader.grammar)
        self.pipeline = pipeline
        self.sampling = sampling
        self.update = update
        self.limits = Limits(update.token_budget)
        self.calibration = CalibrationMetrics()
        self.malformed_patience = malformed_patience
        self._malformed = 0  # batches in a row
        self._batches = 0  # of this run
        self._attached = False

    @property
    def reader(self) -> ResponseReader:
        """What reads completions and judges their answers."""
        return self.pipeline.reader

    def configure_model(self) -> None:
        """Build the policy and, in order to train it, attach the reference to it before any checkpoint is loaded.

        Raises:
            UserError: If the confidence objective needs levels of one token each, and the tokenizer splits some.
        """
        if self.update.confidence.needs_levels and self._policy is None:  # ahead of the weights
            level_tokens(self.spec.processor().tokenizer, self.pipeline.reader.grammar)
        super().configure_model()
        learns = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if learns and not self._attached and self.update.reference_kl.needs_reference:
            self.update.reference.attach(self.policy)
            self._attached = True

    def policies(self) -> list[Policy]:
        """The policy, and the reference where it is a model of its own."""
        return [*super().policies(), *self.update.reference.models()]

    def parts(self) -> dict[str, object]:
        """The parts whose settings go into a checkpoint, by name."""
        return {**super().parts(), "pipeline": self.pipeline, "sampling": self.sampling, "update": self.update}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what parts of the pipeline remember between steps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["pipeline"] = self.pipeline.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another policy; let parts of the pipeline remember again."""
        super().on_load_checkpoint(checkpoint)
        self.pipeline.load_state_dict(checkpoint.get("pipeline", {}))

    def chunked(self, batch: PromptBatch) -> ChunkedPrompts:
        """The prompts in chunks of as many as are on the device at once."""
        return ChunkedPrompts(self.policy, batch, self.pipeline.reader.grammar, self.sampling.chunk_prompts)

    def learn(self, batch: PromptBatch) -> dict[str, Any]:
        """Collect completions of the batch, learn from them, and hand on what was collected."""
        self.policy.eval()  # dropout would make the sampled and the scored pass disagree
        prompts, plan, update = self.chunked(batch), self.sampling.training_plan(self.global_step), self.update
        experience = self.pipeline.collect(self.policy, prompts, plan, update.correction, self.limits)
        own, _ = own_and_counterfactual(experience.assessment)
        step, counterfactual = own_and_counterfactual(of_all_ranks(experience.assessment))
        self._refuse_malformed(step)
        learner = Learner(self.policy, self.pipeline.reader, update, plan.engine.temperature, self.limits)
        with self.pipeline.clock.phase("update"):
            for rows in update.minibatches(len(batch)):
                self._learn(learner.passes(experience, prompts, rows), len(rows))
        self._log_collected(step)
        self._log_counterfactual(counterfactual)
        return {"assessment": own, "experience": experience, "seconds": self.pipeline.clock.take()}

    def on_train_end(self) -> None:
        """Say of a run that is shorter than the patience that nothing could be learned."""
        if self._malformed == self._batches > 0 and self.trainer.is_global_zero:
            logger.warning(
                "No response of the %d training batches was well-formed: nothing was learned. %s",
                self._batches,
                WAYS_TO_THE_FORM,
            )

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Assessment]:
        """The assessment of the completions of a batch; no part remembers anything of it."""
        self.pipeline.clock.take()  # of the validation batch before, which no step of training shall count
        with self.pipeline.preserve_state():
            plan = self.sampling.validation_plan()
            assessment = self.pipeline.assess(self.policy, self.chunked(batch), plan, self.limits)
        self.calibration.update(Outcomes.of(assessment))
        return {"assessment": assessment}

    test_step = validation_step
    predict_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole validation set."""
        self._log_judged("val")

    def on_test_epoch_end(self) -> None:
        """Log the figures of the whole test set."""
        self._log_judged("test")

    def on_predict_epoch_end(self) -> None:
        """Forget the responses; the callbacks have them."""
        self.calibration.reset()

    def _learn(self, passes: Iterable[PolicyUpdate], prompts: int) -> None:
        """One update from the passes of one minibatch."""
        metrics: Counter[str] = Counter()

        def losses() -> Iterator[Tensor]:
            metrics.clear()
            for part in passes:
                metrics.update({**part.stats, "loss": float(part.loss.detach())})
                yield part.loss

        norm = self.update_weights(losses)
        logged = {f"train/objective/{name}": value for name, value in added(metrics).items()}
        self.log_dict({**logged, "train/objective/gradient_norm": norm}, batch_size=prompts)

    def _refuse_malformed(self, assessment: Assessment) -> None:
        """Stop a run whose responses no longer parse, or never did."""
        said, rollouts = assessment.responses, assessment.rollouts
        self._batches += 1
        self._malformed = 0 if said.well_formed.any() else self._malformed + 1
        if self._malformed >= self.malformed_patience:
            raise UserError(
                f"`malformed_patience` is {self.malformed_patience}, and as many training batches in a row had no "
                f"well-formed response. Of the last, {rollouts.truncated.float().mean():.0%} reached `max_new_tokens`; "
                f"its prompts open {self.policy.opening!r}, and its first response starts {rollouts.texts[0][:80]!r}. "
                f"{WAYS_TO_THE_FORM}"
            )

    def _log_collected(self, assessment: Assessment) -> None:
        responses, rollouts = assessment.responses, assessment.rollouts
        figures: dict[str, Tensor | float] = {
            f"train/reward/{name}": term.mean() for name, term in assessment.rewards.terms.items()
        }
        mismatch = (assessment.evidence.log_probs - rollouts.log_probs).abs()[rollouts.chosen].mean()
        figures |= {
            "train/reward/total": assessment.rewards.total.mean(),
            "train/response/correct": responses.correct.mean(),
            "train/response/well_formed": responses.well_formed.float().mean(),
            "train/response/length": rollouts.mask.sum(1).float().mean(),
            "train/response/truncated": rollouts.truncated.float().mean(),
            "train/response/entropy": assessment.evidence.entropy[rollouts.chosen].mean(),
            "train/response/sampling_mismatch": mismatch,
            "train/certainty/visual_kl": assessment.evidence.visual_kl[responses.spans.vision].nanmean(),
            "train/certainty/no_evidence": assessment.evidence.visual_kl.isnan().all(1).float().sum(),
        }
        judged = summarize(Outcomes.of(assessment))
        figures |= {f"train/calibration/{name}": judged[name] for name in ("ece", "auroc", "brier")}
        for kind in ("", "visual_", "reasoning_"):  # NaN where none is known: Lightning would log the last one again
            figures[f"train/calibration/{kind}within_auroc"] = judged.get(f"{kind}within_auroc", math.nan)
        self.log_dict(figures, batch_size=len(assessment.prompts))

    def _log_counterfactual(self, assessment: Assessment) -> None:
        """How often forced readings and the answers behind them are right, and how sure the policy is of them."""
        if not len(assessment):
            return
        judged, size = summarize(Outcomes.of(assessment)), len(assessment)
        names = ("accuracy", "read_rate", "mean_visual", "mean_reasoning", "visual_auroc")
        self.log_dict({f"train/counterfactual/{name}": judged[name] for name in names}, batch_size=size)

    def _log_judged(self, stage: str) -> None:
        metrics = self.calibration.compute()
        self.calibration.reset()
        # Every rank has computed the same values; without `sync_dist` Lightning warns that they may differ.
        self.log_dict({f"{stage}/calibration/{name}": value for name, value in metrics.items()}, sync_dist=True)
