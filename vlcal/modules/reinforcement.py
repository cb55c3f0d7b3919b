"""Reinforcement: collect, update, log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from vlcal.evaluation import Outcomes, summarize
from vlcal.learner import Learner
from vlcal.modules.policy_module import PolicyModule
from vlcal.objectives import ClippedSurrogate, ConfidenceObjective, PolicyObjective, SampledConfidence
from vlcal.optimization import Optimization
from vlcal.pipeline import Pipeline, draw_seed
from vlcal.policy import AdapterOff, EncodedPrompts, PolicySpec, Reference
from vlcal.sampling import Sampling
from vlcal.types import Experience, PromptBatch

Judged = tuple[tuple[str, ...], Outcomes]  # of one batch: the names of its prompts, and an outcome of each


class ReinforcementModule(PolicyModule):
    """Teaches a policy to state calibrated confidences.

    Args:
        policy: Checkpoint and adaptation; built when training or validation starts.
        pipeline: From prompts to experience.
        sampling: Completions per prompt and how they are sampled, in training and in validation.
        objective: Loss on the tokens of a response.
        confidence: How the stated confidences are learned.
        reference: What the policy is held close to.
        optimization: How weights are moved.
    """

    def __init__(
        self,
        policy: PolicySpec,
        pipeline: Pipeline,
        sampling: Sampling = Sampling(),
        objective: PolicyObjective = ClippedSurrogate(),
        confidence: ConfidenceObjective = SampledConfidence(),
        reference: Reference = AdapterOff(),
        optimization: Optimization = Optimization(),
    ) -> None:
        super().__init__(policy, optimization)
        self.pipeline = pipeline
        self.sampling = sampling
        self.objective = objective
        self.confidence = confidence
        self.reference = reference
        self._judged: list[Judged] = []
        self._attached = False

    def configure_model(self) -> None:
        """Build the policy and, in order to train it, attach the reference to it before any checkpoint is loaded.

        Raises:
            ValueError: If the confidence objective needs levels of one token each, and the tokenizer splits some.
        """
        super().configure_model()
        if self.confidence.needs_levels:
            self.policy.level_tokens(self.pipeline.reader.grammar)
        learns = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if learns and not self._attached and (self.objective.needs_reference or self.reference.anchor):
            self.reference.attach(self.policy)
            self._attached = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what parts of the pipeline remember between steps."""
        checkpoint["pipeline"] = self.pipeline.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another policy; let parts of the pipeline remember again."""
        super().on_load_checkpoint(checkpoint)
        self.pipeline.load_state_dict(checkpoint.get("pipeline", {}))

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Experience]:
        """Collect completions of the batch, learn from them, and hand on what was collected."""
        with torch.no_grad():
            encoded = self.policy.encode(batch, self.pipeline.reader.grammar)
        experience = self._collect(batch, encoded)
        for rows in _slices(len(batch), self.sampling.minibatch_prompts):
            self._learn(experience.select(rows), encoded.select(rows))
        self._log_collected(experience)
        return {"experience": experience}

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Experience]:
        """One judged completion per prompt."""
        return self._look(batch)

    def test_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Experience]:
        """One judged completion per prompt."""
        return self._look(batch)

    def predict_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Experience]:
        """One judged completion per prompt."""
        return self._look(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole validation set."""
        self._log_judged("val")

    def on_test_epoch_end(self) -> None:
        """Log the figures of the whole test set."""
        self._log_judged("test")

    def on_predict_epoch_end(self) -> None:
        """Forget what was judged; the callbacks have it."""
        self._judged.clear()

    @torch.no_grad()
    def _collect(self, batch: PromptBatch, encoded: EncodedPrompts) -> Experience:
        seed = draw_seed(self.sampling.seed, "train", str(self.global_step))
        self.policy.eval()  # dropout would make the sampled, the scored and the reference pass disagree
        experience = self.pipeline.judge(
            self.policy,
            batch,
            encoded,
            self.sampling.training,
            self.sampling.group_size,
            seed,
            self.sampling.token_budget,
        )
        rollouts = experience.rollouts
        if self.objective.needs_reference:
            reference = self.reference.log_probs(
                self.policy,
                encoded,
                rollouts.tokens,
                rollouts.mask,
                self.sampling.training.temperature,
                self.sampling.token_budget,
            )
            experience = replace(experience, reference_log_probs=reference)
        experience = self.pipeline.credit(experience)
        trust = self.sampling.correction(experience.evidence.log_probs, rollouts.log_probs, rollouts.mask)
        return replace(experience, advantages=experience.advantages * trust)

    def _learn(self, experience: Experience, encoded: EncodedPrompts) -> None:
        """One update from one minibatch."""
        learner = Learner(
            self.policy,
            self.objective,
            self.confidence,
            self.reference,
            self.pipeline.reader.grammar,
            self.sampling.training.temperature,
            self.sampling.token_budget,
        )
        figures: Counter[str] = Counter()

        def losses() -> Iterator[Tensor]:
            for update in learner.passes(experience, encoded):
                figures.update(update.stats)
                yield update.loss

        norm = self.descend(losses())
        logged = {f"train/objective/{name}": value for name, value in figures.items()}
        self.log_dict({**logged, "train/objective/gradient_norm": norm}, batch_size=len(experience.prompts))

    def _look(self, batch: PromptBatch) -> dict[str, Experience]:
        """Judge one completion per prompt and leave no trace in any part."""
        seed = draw_seed(self.sampling.seed, "validation")
        with self.pipeline.looking():
            encoded = self.policy.encode(batch, self.pipeline.reader.grammar)
            experience = self.pipeline.judge(
                self.policy, batch, encoded, self.sampling.validation, 1, seed, self.sampling.token_budget
            )
        self._judged.append((batch.ids, Outcomes.of(experience)))
        return {"experience": experience}

    def _log_collected(self, experience: Experience) -> None:
        responses, rollouts = experience.responses, experience.rollouts
        figures: dict[str, Tensor | float] = {
            f"train/reward/{name}": term.mean() for name, term in experience.rewards.terms.items()
        }
        mismatch = (experience.evidence.log_probs - rollouts.log_probs).abs()[rollouts.mask].mean()
        figures |= {
            "train/reward/total": experience.rewards.total.mean(),
            "train/response/correct": responses.correct.mean(),
            "train/response/well_formed": responses.well_formed.float().mean(),
            "train/response/length": rollouts.mask.sum(1).float().mean(),
            "train/response/truncated": rollouts.truncated.float().mean(),
            "train/response/entropy": experience.evidence.entropy[rollouts.mask].mean(),
            "train/response/sampling_mismatch": mismatch,
            "train/certainty/visual_kl": experience.evidence.visual_kl[responses.spans.vision].mean(),
        }
        judged = summarize(Outcomes.of(experience))
        figures |= {f"train/calibration/{name}": judged[name] for name in ("ece", "auroc", "brier")}
        self.log_dict(figures, batch_size=len(experience.prompts))

    def _log_judged(self, stage: str) -> None:
        figures = summarize(_of_all_ranks(self._judged))
        self._judged.clear()
        # Every rank has the same figures; `sync_dist` is what Lightning asks for to believe it.
        self.log_dict({f"{stage}/calibration/{name}": value for name, value in figures.items()}, sync_dist=True)


def _of_all_ranks(judged: list[Judged]) -> Outcomes:
    """What all ranks judged; a prompt counts once, though several ranks had it where they got equal numbers."""
    if not torch.distributed.is_initialized():
        return Outcomes.join([outcomes for _, outcomes in judged])
    ranks: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(ranks, judged)
    names = [name for rank in ranks for ids, _ in rank for name in ids]
    whole = Outcomes.join([outcomes for rank in ranks for _, outcomes in rank])
    first = torch.tensor(sorted({name: row for row, name in reversed(list(enumerate(names)))}.values()))
    return Outcomes(**{f.name: getattr(whole, f.name)[first] for f in fields(whole)})


def _slices(count: int, size: int) -> list[list[int]]:
    """Consecutive indices, at most `size` at a time."""
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]
