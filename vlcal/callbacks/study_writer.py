"""Probes and readouts over the responses of an evaluation."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor

from vlcal.callbacks.observer import Observer
from vlcal.errors import UserError
from vlcal.evaluation.metrics import auroc, within_auroc
from vlcal.evaluation.metrics.training import TRUTHS
from vlcal.files import write_whole
from vlcal.modules import ReinforcementModule
from vlcal.policy import EncodedPrompts
from vlcal.probes import Probe, Readout
from vlcal.probes.study import Study
from vlcal.training.sampling import draw_seed
from vlcal.types import Assessment


class StudyWriter(Observer):
    """Runs experiments on the responses of an evaluation and writes the results when it ends.

    The file appears when it is complete, in place of that of an earlier evaluation.

    Args:
        path: The file. On several ranks each writes its own share, from the second rank on as `NAME.1.SUFFIX`, ...
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: dict[str, list[Tensor]] = defaultdict(list)
        self._ids: list[str] = []

    @abstractmethod
    def ask(self, study: Study) -> Mapping[str, Tensor]:
        """Results of each response, by name."""

    @abstractmethod
    def written(self, ids: list[str], columns: Mapping[str, Tensor]) -> str:
        """The content of the file, from the columns of all responses."""

    @abstractmethod
    def figures(self, columns: Mapping[str, Tensor]) -> dict[str, float]:
        """What is logged, by name behind the stage, from the columns of all responses."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse, before anything heavy is done, a module that has no policy to ask.

        Raises:
            UserError: If it is no ReinforcementModule, or ranks share the weights.
        """
        if isinstance(trainer.strategy, ModelParallelStrategy):
            raise UserError(
                f"`{type(self).__name__}` must be taken out of `trainer.callbacks` where ranks share the weights: they "
                "would pass the model a different number of times and wait for each other. Probe the exported model."
            )
        if not isinstance(pl_module, ReinforcementModule):
            raise UserError(
                f"`{type(self).__name__}` needs the policy and the pipeline of a ReinforcementModule, to ask again; "
                f"{type(pl_module).__name__} is none. Take it out of `trainer.callbacks` for this run."
            )

    def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
        if stage == "train":
            return
        assert isinstance(pl_module, ReinforcementModule)  # as `setup` made sure
        with pl_module.pipeline.preserve_state():
            prompts = pl_module.chunked(assessment.prompts)
            for chunk in prompts.chunks(prompts.all):
                self._observe(pl_module, assessment.select(chunk), prompts.encoded(chunk))

    def _observe(self, module: ReinforcementModule, assessment: Assessment, encoded: EncodedPrompts) -> None:
        study = Study(
            module.policy,
            module.pipeline,
            module.sampling.validation,
            assessment,
            encoded,
            draw_seed(module.sampling.seed, "study"),
            module.limits.tokens,
        )
        for name, values in self.ask(study).items():
            self._columns[name].append(values.detach().float().cpu())
        self._ids += [assessment.prompts.ids[owner] for owner in study.prompt_index]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget()

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "val")
        self._publish(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "test")
        self._publish(trainer)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._publish(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep nothing of an evaluation that failed."""
        self._forget()

    def _forget(self) -> None:
        self._columns.clear()
        self._ids.clear()

    def _log(self, pl_module: LightningModule, stage: str) -> None:
        if self._ids:
            figures = self.figures({name: torch.cat(parts) for name, parts in self._columns.items()})
            pl_module.log_dict({f"{stage}/{name}": value for name, value in figures.items()})

    def _publish(self, trainer: Trainer) -> None:
        if not self._ids:
            return
        text = self.written(self._ids, {name: torch.cat(parts) for name, parts in self._columns.items()})
        write_whole(self._own(trainer), text)
        self._forget()

    def _own(self, trainer: Trainer) -> Path:
        rank = trainer.global_rank
        return self.path if rank == 0 else self.path.with_suffix(f".{rank}{self.path.suffix}")


class ProbeWriter(StudyWriter):
    """Runs probes and writes their summaries as one JSON object, by the name of the probe.

    `vlcal report` finds the file beside the predictions if it is named like them: after.jsonl, after.probes.json.

    Args:
        path: The JSON file.
        probes: Probe of each name; a CorruptionCurve named `corruption` is drawn in the report.
    """

    def __init__(self, path: Path, probes: Mapping[str, Probe]) -> None:
        super().__init__(path)
        self.probes = _named("probes", probes)

    def ask(self, study: Study) -> Mapping[str, Tensor]:
        results = {name: probe(study) for name, probe in self.probes.items()}
        return {f"{name}/{column}": values for name, columns in results.items() for column, values in columns.items()}

    def written(self, ids: list[str], columns: Mapping[str, Tensor]) -> str:
        return json.dumps(self.summaries(columns), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def figures(self, columns: Mapping[str, Tensor]) -> dict[str, float]:
        return {
            f"probe/{name}/{figure}": value
            for name, summary in self.summaries(columns).items()
            for figure, value in summary.items()
            if isinstance(value, float)
        }

    def summaries(self, columns: Mapping[str, Tensor]) -> dict[str, Any]:
        """The summary of each probe over all responses."""
        summaries: dict[str, Any] = {}
        for name, probe in self.probes.items():
            start = f"{name}/"
            own = {key.removeprefix(start): values for key, values in columns.items() if key.startswith(start)}
            summaries[name] = probe.summarize(own)
        return summaries


class ReadoutWriter(StudyWriter):
    """Reads confidences out of each response in several ways and writes them side by side, one JSON line per response.

    A line holds id, correct, perception_correct, reasoning_correct, and NAME_KIND for each readout and kind of
    confidence, null where there is none: `vlcal score` takes the file with `--confidence NAME_overall`. The AUROC of
    each, over all and within prompts, is logged, and is that of `vlcal score` for the same file.

    Args:
        path: The JSON Lines file.
        readouts: Readout of each name.
    """

    def __init__(self, path: Path, readouts: Mapping[str, Readout]) -> None:
        super().__init__(path)
        self.readouts = _named("readouts", readouts)

    def ask(self, study: Study) -> Mapping[str, Tensor]:
        said = study.assessment.responses
        columns = {name: getattr(said, name) for name in TRUTHS.values()}
        for name, readout in self.readouts.items():
            columns |= {f"{name}_{kind}": values for kind, values in readout(study).items()}
        return columns

    def written(self, ids: list[str], columns: Mapping[str, Tensor]) -> str:
        decimals = {key: _decimals(values) for key, values in columns.items()}
        lines = []
        for row, name in enumerate(ids):
            known = {key: None if math.isnan(values[row]) else values[row] for key, values in decimals.items()}
            lines.append(json.dumps({"id": name, **known}, ensure_ascii=False, allow_nan=False) + "\n")
        return "".join(lines)

    def figures(self, columns: Mapping[str, Tensor]) -> dict[str, float]:
        rows = {name: _decimals(values) for name, values in columns.items()}
        metrics = {}
        for name, values in rows.items():
            truth = rows.get(TRUTHS.get(name.rpartition("_")[2], ""))
            if truth is not None:
                metrics[f"readout/{name}/auroc"] = auroc(values, truth)
                metrics[f"readout/{name}/within_auroc"] = within_auroc(values, truth, question=self._ids)
        return {name: value for name, value in metrics.items() if not math.isnan(value)}


def _decimals(values: Tensor) -> list[float]:
    """The values as the file holds them, to six decimals, so that metrics of both see the same ties; NaN: none."""
    return [round(value, 6) if math.isfinite(value) else math.nan for value in values.tolist()]


Part = TypeVar("Part")


def _named(setting: str, parts: Mapping[str, Part]) -> dict[str, Part]:
    """The parts, if there is one at least and no name holds the slash that separates it from a column."""
    bad = [name for name in parts if not name or "/" in name]
    if bad or not parts:
        raise UserError(
            f"`{setting}` must map a name without a slash to each part, one at least; got {bad or 'none at all'}."
        )
    return dict(parts)
