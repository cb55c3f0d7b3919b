"""A step of TRL: its own GRPOTrainer in transformers' own loop, with a clock around the parts."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from clock import Clock, TowerCounter
from peft import LoraConfig
from subject import Subject
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, PrinterCallback, TrainerCallback
from vlcal_step import ALPHA, RANK, Setting

from vlcal.policy.encode import placeholder_tokens
from vlcal.policy.layers import LanguageLayers, decoder

INSTALL = "pip install trl==1.16.0 accelerate datasets"
LEARNER = ("scoring", "reference", "update")
NEVER = -1e4  # added to a logit; its exponential is 0 in every dtype


class TrlStep:
    """Steps of TRL, one at a time.

    Its settings are the fastest that compute the same function: no old log-probabilities, which an aligned step does
    without; no gradient checkpointing, on either side; its fused head, which it always uses; a whole group a pass.

    Args:
        folder: Of the checkpoint.
        subject: Sizes and prompts.
        setting: How it learns.
    """

    def __init__(self, folder: Path, subject: Subject, setting: Setting) -> None:
        trl, datasets = require_trl()
        self.subject, self.setting = subject, setting
        self.clock = Clock(setting.device, setting.time)
        # As TRL loads it by itself; padded on the right, the token types would miss the images.
        processor = AutoProcessor.from_pretrained(folder, padding_side="left")
        model = _model(folder, processor, setting)
        self.tower = TowerCounter(model.base_model.visual)
        self.rows = [
            {"prompt": [{"role": "user", "content": question}], "image": _picture(image)}
            for question, (image,) in zip(subject.questions().questions, subject.questions().images, strict=True)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.trainer = trl.GRPOTrainer(
                model=model,
                reward_funcs=_reward,
                args=trl.GRPOConfig(**_arguments(folder, subject, setting)),
                train_dataset=datasets.Dataset.from_list(self.rows),
                processing_class=processor,
                peft_config=_adapters(model) if setting.adaptation == "lora" else None,
                callbacks=[_Clocked(self.clock)],
            )
        self.trainer.remove_callback(PrinterCallback)
        if self.trainer.ref_model is not None:
            _forbid(self.trainer.ref_model, processor)
        self._count_parts()

    def step(self) -> dict[str, float]:
        """One step; the seconds of each part."""
        logging.getLogger("transformers").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.trainer.train()
        return self.clock.read()

    def gradients(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The gradient of one update by the weight's name, with the completions and advantages it is made from.

        By the two functions a step consists of; needs a step to have run.
        """
        trainer = self.trainer
        trainer.model.train()
        rows = [row for row in self.rows for _ in range(self.subject.group)]
        inputs = trainer._generate_and_score_completions(rows)
        trainer.model.zero_grad()
        accumulated = trainer.current_gradient_accumulation_steps  # which the loss is divided by
        (accumulated * trainer._compute_loss(trainer.model, inputs)).backward()
        found = {name: weight.grad for name, weight in self.weights().items() if weight.grad is not None}
        return found, inputs["completion_ids"], inputs["advantages"]

    def weights(self) -> dict[str, nn.Parameter]:
        """The weights that learn."""
        return {name: weight for name, weight in self.trainer.model.named_parameters() if weight.requires_grad}

    def _count_parts(self) -> None:
        for name, part in (("_generate", "generation"), ("_generate_and_score_completions", "other")):
            setattr(self.trainer, name, self.clock.around(getattr(self.trainer, name), lambda part=part: part))
        passes = self.trainer._get_per_token_logps_and_entropies
        self.trainer._get_per_token_logps_and_entropies = self.clock.around(passes, self._pass_part)

    def _pass_part(self) -> str:
        """What a pass without gradient is for: an aligned step makes none but that of the reference."""
        return "update" if torch.is_grad_enabled() else "reference"


class _Clocked(TrainerCallback):
    """Counts an optimizer step from its first pass to its end; what is fetched before it is not counted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = ExitStack()

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._open.enter_context(self._clock.part("update"))

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop it."""
        self._open.close()


def require_trl() -> tuple[Any, Any]:
    """TRL and the library its data comes in, or the end with the line that installs both."""
    try:
        import datasets
        import trl
    except ImportError as missing:
        raise SystemExit(f"This benchmark compares with TRL, which is not there ({missing}). {INSTALL}") from missing
    return trl, datasets


def _arguments(folder: Path, subject: Subject, setting: Setting) -> dict[str, Any]:
    passes, rest = divmod(subject.prompts, setting.groups_per_pass)
    if rest:
        raise SystemExit(
            f"`groups_per_pass` must divide `prompts`, or TRL would go through unequal parts; got "
            f"{setting.groups_per_pass} and {subject.prompts}."
        )
    return {
        "output_dir": str(folder / "trl"),
        "max_steps": 1,
        "per_device_train_batch_size": subject.group * setting.groups_per_pass,
        "gradient_accumulation_steps": passes,
        "steps_per_generation": passes,
        "num_generations": subject.group,
        "max_completion_length": subject.completion,
        "loss_type": "grpo",
        "scale_rewards": "group",
        "beta": setting.kl,
        "epsilon": setting.clip,
        "use_bias_correction_kl": False,
        "temperature": 1.0,
        "learning_rate": setting.lr,
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": False,
        "use_cpu": setting.device == "cpu",
        "bf16": False,  # autocast: the weights have the wanted dtype already
        "shuffle_dataset": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": setting.device != "cpu",
    }


def _model(folder: Path, processor: Any, setting: Setting) -> Any:
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=getattr(torch, setting.dtype))
    _forbid(model, processor)
    model.requires_grad_(False)
    if setting.adaptation == "full":
        decoder(model).requires_grad_(True)
        model.get_output_embeddings().weight.requires_grad_(True)
    return model


def _forbid(model: Any, processor: Any) -> None:
    """Keep tokens that stand for pictures from being sampled, and out of every sum, as vlcal does.

    Without it the two losses would be different functions. A bias of the head is what TRL's fused head understands.
    """
    head = model.get_output_embeddings()
    bias = torch.zeros(head.weight.shape[0], dtype=head.weight.dtype, device=head.weight.device)
    bias[placeholder_tokens(model.config, processor)] = NEVER
    head.bias = nn.Parameter(bias, requires_grad=False)


def _adapters(model: Any) -> LoraConfig:
    layers = list(LanguageLayers().of(model))
    return LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=layers, task_type="CAUSAL_LM")


def _picture(image: Tensor) -> Any:
    from torchvision.transforms.functional import to_pil_image

    return to_pil_image((255 * image).round().to(torch.uint8))


def _reward(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(completion[0]["content"]) % 2) for completion in completions]
