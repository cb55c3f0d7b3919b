"""A step of vlcal: its own module in Lightning's own loop, with a clock around the parts."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning
import torch
from clock import Clock, TowerCounter
from subject import Subject
from torch import Tensor
from torch.utils.data import DataLoader

import vlcal.training.measurement
import vlcal.training.pipeline
from vlcal.modules import ReinforcementModule
from vlcal.objectives import ClippedSurrogate, SampledReferenceKL, SequenceMeanTokenMean
from vlcal.policy import (
    AdapterOff,
    EncodedPrompts,
    FrozenCopy,
    GroupEngine,
    LanguageModel,
    LoRA,
    Policy,
    PolicySpec,
    QLoRA,
    RolloutEngine,
)
from vlcal.policy.engines.base import rollouts
from vlcal.rewards import AccuracyReward
from vlcal.text import Grammar
from vlcal.training.chunks import ChunkedPrompts
from vlcal.training.learner import Learner, Update
from vlcal.training.limits import Limits
from vlcal.training.optimization import Optimization
from vlcal.training.pipeline import Pipeline
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import Sampling, SamplingPlan
from vlcal.types import Experience, PromptBatch, Responses, Rollouts

LEARNER = ("scoring", "reference", "update")
RANK, ALPHA = 16, 32.0
ADAPTATIONS = {
    "lora": (LoRA(RANK, ALPHA), AdapterOff),
    "qlora": (QLoRA(RANK, ALPHA), AdapterOff),
    "full": (LanguageModel(), FrozenCopy),
}


@dataclass(frozen=True)
class Setting:
    """How both sides learn.

    Args:
        adaptation: Which weights learn: adapters on the language model, over 4-bit weights or not, or all of it.
        device: Where.
        dtype: Of the weights.
        groups_per_pass: Groups that go through the model at once wherever a side decides, sampling aside.
        copies: Perturbed copies per image, `K`, of which only vlcal makes use.
        vision_share: Share of each completion that counts as its vision part, which is what the perturbed pass is over.
        kl: Factor on the KL penalty to the reference.
        clip: How far from 1 the importance ratio may go.
        lr: Learning rate.
        time: What is counted: seconds of the wall, or of the processor.
    """

    adaptation: str = "lora"
    device: str = "cpu"
    dtype: str = "float32"
    groups_per_pass: int = 1
    copies: int = 1
    vision_share: float = 1 / 3
    kl: float = 0.01
    clip: float = 0.2
    lr: float = 1e-5
    time: str = "wall"


class VlcalStep:
    """Steps of vlcal, one at a time.

    Args:
        folder: Of the checkpoint.
        subject: Sizes and prompts.
        setting: How it learns.
    """

    def __init__(self, folder: Path, subject: Subject, setting: Setting) -> None:
        self.subject, self.setting = subject, setting
        self.clock = Clock(setting.device, setting.time)
        self.grammar = Grammar(instructions="")
        self.prompts = subject.questions()
        adaptation, reference = ADAPTATIONS[setting.adaptation]
        reader = MarkedReader(self.grammar, round(setting.vision_share * subject.completion))
        self.module = ReinforcementModule(
            PolicySpec(str(folder), adaptation, setting.dtype),
            Pipeline(reader, {"accuracy": AccuracyReward()}, copies=setting.copies),
            Sampling(subject.group, GroupEngine(subject.completion)),
            Update(
                ClippedSurrogate(setting.clip, setting.clip, math.inf, SequenceMeanTokenMean()),
                reference_kl=SampledReferenceKL(setting.kl, SequenceMeanTokenMean()),
                reference=reference(),
            ),
            Optimization(setting.lr, weight_decay=0.0),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.module.configure_model()
        self.policy = self.module.policy.to(setting.device)
        self.tower = TowerCounter(self.policy.backbone.base_model.visual)
        self.prompt_tokens = self._prompt_tokens()
        group = self.prompt_tokens + subject.group * subject.completion
        self.module.update.token_budget = setting.groups_per_pass * group
        self.module.limits = Limits(self.module.update.token_budget)
        self._count_parts()

    def step(self) -> dict[str, float]:
        """One step; the seconds of each part."""
        with self._measuring(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._trainer().fit(self.module, DataLoader([self.prompts], batch_size=None))
        self.policy.to(self.setting.device)  # Lightning moves it off a GPU when it is done
        return self.clock.read()

    def gradients(self, tokens: Tensor, advantages: Tensor) -> dict[str, Tensor]:
        """The gradient of one update from given completions and the advantage of each, by the weight's name.

        It leaves the seconds of its parts on the clock.
        """
        pipeline, update = self.module.pipeline, self.module.update
        self.policy.eval()
        with self._measuring():
            prompts = ChunkedPrompts(self.policy, self.prompts, self.grammar)
            plan = SamplingPlan(_Replay(tokens), self.subject.group, 0)
            assessment = pipeline.assess(self.policy, prompts, plan, Limits(update.token_budget))
            experience = Experience(assessment, advantages[:, None] * assessment.rollouts.mask)
            learner = Learner(self.policy, pipeline.reader, update, 1.0)
            self.policy.zero_grad()
            with self.clock.part("update"):
                for part in learner.passes(experience, prompts, prompts.all):
                    part.loss.backward()
        return {name: weight.grad for name, weight in self.weights().items() if weight.grad is not None}

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """The weights that learn."""
        return {name: weight for name, weight in self.policy.adapted.named_parameters() if weight.requires_grad}

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """A context in which the passes within `assess` and the update are counted apart."""
        with ExitStack() as patched:
            for owner, name, part in (
                (vlcal.training.pipeline, "measure", lambda: "scoring"),
                (vlcal.training.measurement, "with_perturbed", lambda: "perturbed"),
                (Learner, "_reference", lambda: "reference"),
                (ChunkedPrompts, "encoded", self._encoding_part),
            ):
                timed = self.clock.around(getattr(owner, name), part)
                patched.enter_context(patch.object(owner, name, timed))
            yield

    def _prompt_tokens(self) -> int:
        length = self.policy.encode(self.prompts, self.grammar).length
        _ = self.policy.layout  # chosen once a run, with two images of its own
        self.tower.images = 0
        return length

    def _count_parts(self) -> None:
        """Put the clock around the parts; what is left within `assess` is made for and from the perturbed images."""
        clock, module = self.clock, self.module
        for owner, name, part in (
            (module, "training_step", "other"),
            (module, "update_weights", "update"),
            (module.pipeline, "assess", "perturbed"),
            (module.pipeline.reader, "read", "other"),
            (module.sampling.training, "sample", "generation"),
        ):
            setattr(owner, name, clock.around(getattr(owner, name), lambda part=part: part))

    def _encoding_part(self) -> str:
        return "update" if self.clock.current == "update" else "generation"

    def _trainer(self) -> lightning.Trainer:
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        return lightning.Trainer(
            accelerator="gpu" if self.setting.device.startswith("cuda") else "cpu",
            devices=1,
            max_steps=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[_Clocked(self.clock)],
        )


class _Clocked(lightning.Callback):
    """Counts what the loop does around `training_step` as well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = ExitStack()

    def on_train_batch_start(self, *args: Any) -> None:
        """Start the clock."""
        self._open.enter_context(self._clock.part("other"))

    def on_train_batch_end(self, *args: Any) -> None:
        """Stop it."""
        self._open.close()


class MarkedReader(ResponseReader):
    """Reads what a random model wrote, then takes its first tokens for the vision part, and some answers for right.

    Args:
        grammar: Of the prompts.
        vision: Tokens of the vision part.
    """

    def __init__(self, grammar: Grammar, vision: int) -> None:
        super().__init__(grammar)
        self.vision = vision

    def read(self, policy: Policy, prompts: PromptBatch, rollouts: Rollouts) -> Responses:
        """What is said, marked."""
        said = super().read(policy, prompts, rollouts)
        marked = torch.arange(rollouts.tokens.shape[1], device=rollouts.mask.device) < self.vision
        right = [float(len(text) % 2) for text in rollouts.texts]
        return replace(
            said,
            correct=torch.tensor(right, device=said.correct.device),
            spans=replace(said.spans, vision=rollouts.mask & marked),
        )


class _Replay(RolloutEngine):
    """Gives completions that were written elsewhere.

    Args:
        tokens: The completions.
    """

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def sample(
        self,
        policy: Policy,
        encoded: EncodedPrompts,
        group_size: int,
        seeds: Sequence[int],
        starts: Sequence[Sequence[int]] | None = None,
    ) -> Rollouts:
        """The completions."""
        log_probs = torch.zeros(self.tokens.shape, device=self.tokens.device)
        return rollouts(policy, self.tokens, log_probs, group_size)
