"""Evaluation of a model that only an address is known of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from vlcal.evaluation import Outcomes, summarize
from vlcal.policy.answers import AnswerFile
from vlcal.policy.endpoint import Answer, Endpoint
from vlcal.reader import ResponseReader
from vlcal.types import Certainty, Evidence, Experience, PromptBatch, Responses, Rewards, Rollouts


class EndpointModule(lightning.LightningModule):
    """Judges the answers of a model behind an OpenAI-compatible address; nothing is trained.

    It logs the figures and hands on the records that ReinforcementModule does in validation: the same callbacks serve.
    An endpoint gives texts and no tokens: whatever is measured on tokens is absent, the visual certainty first of all.

    Within a batch requests go out in parallel, so a batch should hold several times `endpoint.concurrency`. Answers are
    written down as they come; a run that was cut short asks only for what is missing. Unless Lightning shows a progress
    bar of batches, one of answers is shown.

    Args:
        endpoint: Where the model is and how it is asked.
        reader: Parses and judges answers.
        answers: File that answers are kept in.
    """

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
        self._judged: list[Outcomes] = []

    def setup(self, stage: str) -> None:
        """Read the answers that an earlier run left.

        Raises:
            ValueError: If this is to be trained.
        """
        if stage == "fit":
            raise ValueError("`EndpointModule` must be validated, tested or used to predict; nothing in it can learn.")
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

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Experience]:
        """One judged answer per prompt."""
        return self._look(batch)

    def test_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Experience]:
        """One judged answer per prompt."""
        return self._look(batch)

    def predict_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Experience]:
        """One judged answer per prompt."""
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
        self._hide()

    def _look(self, batch: PromptBatch) -> dict[str, Experience]:
        answers = self._answers(batch)
        texts = tuple(answer.text for answer in answers)
        truncated = torch.tensor([answer.truncated for answer in answers])
        experience = experience_of_texts(batch, self.reader.read_texts(batch, texts), texts, truncated)
        self._judged.append(Outcomes.of(experience))
        return {"experience": experience}

    def _answers(self, batch: PromptBatch) -> list[Answer]:
        """An answer per prompt: those that are known, and those that are asked for now."""
        if self._file is None:
            raise RuntimeError("`answers` are read when validation starts; call `setup` first.")
        inquiries = self.endpoint.inquiries(batch, self.reader.grammar)
        found = {inquiry.key: self._file.find(inquiry) for inquiry in inquiries}
        missing = {inquiry.key: inquiry for inquiry in inquiries if found[inquiry.key] is None}
        self._advance(len(inquiries) - len(missing))
        try:
            for inquiry, given in self.endpoint.ask(list(missing.values())) if missing else ():
                self._file.keep(inquiry, given)
                found[inquiry.key] = given
                self._advance(1)
        except BaseException:
            self._hide()
            raise
        return [answer for inquiry in inquiries if (answer := found[inquiry.key]) is not None]

    def _log_judged(self, stage: str) -> None:
        self._hide()
        figures = summarize(Outcomes.join(self._judged))
        self._judged.clear()
        self.log_dict({f"{stage}/calibration/{name}": value for name, value in figures.items()})

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


def experience_of_texts(
    prompts: PromptBatch, responses: Responses, texts: tuple[str, ...], truncated: Tensor
) -> Experience:
    """The record of texts whose tokens nobody knows: T is 0, and what is measured on tokens is NaN."""
    tokens = torch.zeros(len(texts), 0)
    absent = torch.full((len(texts),), math.nan)
    return Experience(
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
        advantages=tokens,
        reference_log_probs=None,
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
