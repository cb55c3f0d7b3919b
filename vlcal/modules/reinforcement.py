"""Reinforcement learning: collect, update, log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from vlcal.evaluation.metrics.training import CalibrationMetrics, Outcomes, summarize
from vlcal.modules.policy_module import PolicyModule
from vlcal.parts import fresh_defaults
from vlcal.policy import EncodedPrompts, PolicySpec
from vlcal.training.learner import Learner, Update
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling
from vlcal.types import Assessment, Experience, PromptBatch


class ReinforcementModule(PolicyModule):
    """Teaches a policy to state calibrated confidences.

    Every step hands callbacks its responses as `outputs["assessment"]`, in training as in validation, testing and
    prediction. A training step adds `outputs["experience"]`, what it learned from.

    Args:
        policy: Checkpoint and adaptation; built when training or validation starts.
        pipeline: From prompts to experience.
        sampling: Completions per prompt and how they are sampled, in training and in validation.
        update: The terms of the loss, and how an experience is cut into updates.
        optimization: How weights are updated.
    """

    @fresh_defaults
    def __init__(
        self,
        policy: PolicySpec,
        pipeline: Pipeline,
        sampling: Sampling = Sampling(),
        update: Update = Update(),
        optimization: Optimization = Optimization(),
    ) -> None:
        super().__init__(policy, optimization)
        self.pipeline = pipeline
        self.sampling = sampling
        self.update = update
        self.calibration = CalibrationMetrics()
        self._attached = False

    def configure_model(self) -> None:
        """Build the policy and, in order to train it, attach the reference to it before any checkpoint is loaded.

        Raises:
            UserError: If the confidence objective needs levels of one token each, and the tokenizer splits some.
        """
        super().configure_model()
        if self.update.confidence.needs_levels:
            self.policy.level_tokens(self.pipeline.reader.grammar)
        learns = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if learns and not self._attached and self.update.reference_kl.needs_reference:
            self.update.reference.attach(self.policy)
            self._attached = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what parts of the pipeline remember between steps."""
        checkpoint["pipeline"] = self.pipeline.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another policy; let parts of the pipeline remember again."""
        super().on_load_checkpoint(checkpoint)
        self.pipeline.load_state_dict(checkpoint.get("pipeline", {}))

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Assessment | Experience]:
        """Collect completions of the batch, learn from them, and hand on what was collected."""
        self.policy.eval()  # dropout would make the sampled and the scored pass disagree
        with torch.no_grad():
            encoded = self.policy.encode(batch, self.pipeline.reader.grammar)
        plan, update = self.sampling.training_plan(self.global_step), self.update
        experience = self.pipeline.collect(self.policy, batch, encoded, plan, update.correction, update.token_budget)
        learner = Learner(self.policy, self.pipeline.reader, update, plan.engine.temperature)
        for rows in update.minibatches(len(batch)):
            self._learn(learner, experience.select(rows), encoded.select(rows))
        self._log_collected(experience.assessment)
        return {"assessment": experience.assessment, "experience": experience}

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Assessment]:
        """The assessment of one completion per prompt; no part remembers anything of it."""
        with self.pipeline.preserve_state():
            encoded = self.policy.encode(batch, self.pipeline.reader.grammar)
            plan, budget = self.sampling.validation_plan(), self.update.token_budget
            assessment = self.pipeline.assess(self.policy, batch, encoded, plan, budget)
        self.calibration.update(batch.ids, Outcomes.of(assessment))
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

    def _learn(self, learner: Learner, experience: Experience, encoded: EncodedPrompts) -> None:
        """One update from one minibatch."""
        metrics: Counter[str] = Counter()

        def losses() -> Iterator[Tensor]:
            for part in learner.passes(experience, encoded):
                metrics.update(part.stats)
                yield part.loss

        norm = self.update_weights(losses())
        logged = {f"train/objective/{name}": value for name, value in metrics.items()}
        prompts = len(experience.assessment.prompts)
        self.log_dict({**logged, "train/objective/gradient_norm": norm}, batch_size=prompts)

    def _log_collected(self, assessment: Assessment) -> None:
        responses, rollouts = assessment.responses, assessment.rollouts
        figures: dict[str, Tensor | float] = {
            f"train/reward/{name}": term.mean() for name, term in assessment.rewards.terms.items()
        }
        mismatch = (assessment.evidence.log_probs - rollouts.log_probs).abs()[rollouts.mask].mean()
        figures |= {
            "train/reward/total": assessment.rewards.total.mean(),
            "train/response/correct": responses.correct.mean(),
            "train/response/well_formed": responses.well_formed.float().mean(),
            "train/response/length": rollouts.mask.sum(1).float().mean(),
            "train/response/truncated": rollouts.truncated.float().mean(),
            "train/response/entropy": assessment.evidence.entropy[rollouts.mask].mean(),
            "train/response/sampling_mismatch": mismatch,
            "train/certainty/visual_kl": assessment.evidence.visual_kl[responses.spans.vision].mean(),
        }
        judged = summarize(Outcomes.of(assessment))
        figures |= {f"train/calibration/{name}": judged[name] for name in ("ece", "auroc", "brier")}
        self.log_dict(figures, batch_size=len(assessment.prompts))

    def _log_judged(self, stage: str) -> None:
        metrics = self.calibration.compute()
        self.calibration.reset()
        # Every rank has computed the same values; without `sync_dist` Lightning warns that they may differ.
        self.log_dict({f"{stage}/calibration/{name}": value for name, value in metrics.items()}, sync_dist=True)
