"""Evaluation of a model behind an address."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from vlcal.errors import UserError
from vlcal.evaluation.metrics.training import CalibrationMetrics, Outcomes
from vlcal.parts import fresh_defaults
from vlcal.policy.engines.endpoint import Answer, Endpoint
from vlcal.policy.engines.endpoint_answers import AnswerFile
from vlcal.training.reader import ResponseReader
from vlcal.types import Assessment, Certainty, Evidence, PromptBatch, Responses, Rewards, Rollouts


class EndpointModule(lightning.LightningModule):
    """Assesses the answers of a model behind an OpenAI-compatible address; nothing is trained.

    It logs the metrics of ReinforcementModule in validation and hands on an `outputs["assessment"]` like it: the same
    callbacks serve. An endpoint gives texts and no tokens: what is measured on tokens, such as the visual
    certainty, is absent.

    Within a batch requests go out in parallel, so a batch should hold several times `endpoint.concurrency`. Answers are
    written down as they come; a run that was cut short asks only for what is missing. Unless Lightning shows a progress
    bar of batches, one of answers is shown.

    Args:
        endpoint: Where the model is and how it is asked.
        reader: Parses and checks answers.
        answers: File that answers are kept in.
    """

    @fresh_defaults
    def __init__(
        self,
        endpoint: Endpoint,
        reader: ResponseReader = ResponseReader(),
        answers: Path = Path("runs/endpoint/answers.jsonl"),
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.reader = reader
        self.answers = answers
        self._file: AnswerFile | None = None
        self._bar: Progress | None = None
        self.calibration = CalibrationMetrics()

    def setup(self, stage: str) -> None:
        """Read the answers that an earlier run left.

        Raises:
            UserError: If this is to be trained.
        """
        if stage == "fit":
            raise UserError("`EndpointModule` must be validated, tested or used to predict; nothing in it can learn.")
        self._file = AnswerFile(self.answers)

    def on_validation_start(self) -> None:
        """Show how many answers are in."""
        self._show(self.trainer.val_dataloaders, self.trainer.num_val_batches)

    def on_test_start(self) -> None:
        """Show how many answers are in."""
        self._show(self.trainer.test_dataloaders, self.trainer.num_test_batches)

    def on_predict_start(self) -> None:
        """Show how many answers are in."""
        self._show(self.trainer.predict_dataloaders, self.trainer.num_predict_batches)

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Assessment]:
        """The assessment of one answer per prompt."""
        answers = self._answers(batch)
        texts = tuple(answer.text for answer in answers)
        truncated = torch.tensor([answer.truncated for answer in answers])
        assessment = assessment_of_texts(batch, self.reader.read_texts(batch, texts), texts, truncated)
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
        self._hide()

    def _answers(self, batch: PromptBatch) -> list[Answer]:
        """An answer per prompt: those that are known, and those that are asked for now."""
        if self._file is None:
            raise RuntimeError("`answers` are read when validation starts; call `setup` first.")
        inquiries = self.endpoint.inquiries(batch, self.reader.grammar)
        known = {inquiry.key: self._file.find(inquiry) for inquiry in inquiries}
        missing = {inquiry.key: inquiry for inquiry in inquiries if known[inquiry.key] is None}
        self._advance(len(inquiries) - len(missing))
        try:
            for inquiry, given in self.endpoint.ask(list(missing.values())) if missing else ():
                self._file.keep(inquiry, given)
                known[inquiry.key] = given
                self._advance(1)
        except BaseException:
            self._hide()
            raise
        return [answer for inquiry in inquiries if (answer := known[inquiry.key]) is not None]

    def _log_judged(self, stage: str) -> None:
        self._hide()
        metrics = self.calibration.compute()
        self.calibration.reset()
        self.log_dict({f"{stage}/calibration/{name}": value for name, value in metrics.items()}, sync_dist=True)

    def _show(self, loaders: Any, batches: Sequence[int | float]) -> None:
        if self.trainer.progress_bar_callback is not None or not self.trainer.is_global_zero:
            return
        columns = TextColumn("answers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns)
        self._bar.add_task("answers", total=_prompts(loaders, batches))
        self._bar.start()

    def _advance(self, answers: int) -> None:
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], answers)

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def assessment_of_texts(
    prompts: PromptBatch, responses: Responses, texts: tuple[str, ...], truncated: Tensor
) -> Assessment:
    """The assessment of texts without tokens: T is 0, what follows from tokens is NaN, and nothing is rewarded."""
    tokens, absent = torch.zeros(len(texts), 0), torch.full((len(texts),), math.nan)
    return Assessment(
        prompts=prompts,
        rollouts=Rollouts(
            tokens=tokens.long(),
            mask=tokens.bool(),
            log_probs=tokens,
            texts=texts,
            truncated=truncated,
            group_size=len(texts) // len(prompts),
        ),
        responses=responses,
        evidence=Evidence(log_probs=tokens, entropy=tokens, visual_kl=tokens),
        certainty=Certainty(token=tokens, response=absent, score=absent),
        rewards=Rewards(terms={}, total=absent),
    )


def _prompts(loaders: Any, batches: Sequence[int | float]) -> int | None:
    """How many prompts the batches hold; None where that is not known."""
    several = loaders if isinstance(loaders, list | tuple) else [loaders]
    total = 0
    for loader, limit in zip(several, batches, strict=True):
        size = getattr(loader, "batch_size", None)
        if size is None or not hasattr(loader.dataset, "__len__"):
            return None
        total += int(min(len(loader.dataset), limit * size))
    return total
