"""Parts go into the pipeline from `trainer.callbacks`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.cli import LightningCLI

from vlcal.advantages import UniformReweighter
from vlcal.callbacks import ProgressBar, ReweightingSchedule, StrengthSchedule, UsePart
from vlcal.certainty import EntropyCertainty
from vlcal.perturbations import Blank, GaussianNoise

Make = Callable[..., Any]
PARTS = {"perturbation": GaussianNoise(), "certainty": EntropyCertainty(), "reweighter": UniformReweighter()}


@pytest.mark.parametrize("slot", PARTS)
def test_a_part_goes_into_its_slot(slot: str, build: Make, learner: Make, fit: Make) -> None:
    module = learner([build()])
    fit(module, UsePart(slot, PARTS[slot]), steps=1)
    assert getattr(module.pipeline, slot) is PARTS[slot]


def test_a_schedule_behind_it_moves_the_part(build: Make, learner: Make, fit: Make) -> None:
    part = Blank(strength=1.0)
    fit(learner([build()]), UsePart("perturbation", part), StrengthSchedule(0.2, 0.2), steps=1)
    assert part.strength == 0.2


def test_a_schedule_behind_it_sees_what_the_part_lacks(build: Make, learner: Make, fit: Make) -> None:
    with pytest.raises(ValueError, match="UniformReweighter has none"):
        fit(learner([build()]), UsePart("reweighter", UniformReweighter()), ReweightingSchedule(0, 1), steps=1)


def test_an_unknown_slot_is_refused() -> None:
    with pytest.raises(ValueError, match="`slot` must be one of perturbation, certainty, reweighter; got 'verifier'"):
        UsePart("verifier", GaussianNoise())


def test_a_part_of_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match="`part` must be a CertaintyEstimator .* slot `certainty`; got GaussianNoise"):
        UsePart("certainty", GaussianNoise())


def test_a_module_without_pipeline_is_refused(trainer: Make, loader: Make) -> None:
    class Bare(lightning.LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> None: ...

        def configure_optimizers(self) -> None: ...

    with pytest.raises(ValueError, match="`UsePart` changes the parts of a module, and Bare has none"):
        trainer(UsePart("perturbation", GaussianNoise())).fit(Bare(), loader(1))


class Idle(lightning.LightningModule):
    """Needs no setting."""


YAML = """
trainer:
  logger: false
  callbacks:
    - class_path: vlcal.callbacks.UsePart
      init_args:
        slot: perturbation
        part:
          class_path: vlcal.perturbations.GaussianNoise
          init_args: {strength: 0.25}
    - class_path: vlcal.callbacks.UsePart
      init_args: {slot: reweighter, part: {class_path: vlcal.advantages.UniformReweighter}}
    - class_path: vlcal.callbacks.UsePart
      init_args:
        slot: certainty
        part:
          class_path: vlcal.certainty.KLCertainty
          init_args: {labeler: {class_path: vlcal.certainty.WindowLabeler, init_args: {size: 64}}}
    - class_path: vlcal.callbacks.StrengthSchedule
      init_args: {start: 0.1, end: 0.9, until: 0.5}
    - class_path: vlcal.callbacks.MixtureSchedule
      init_args: {start: [1, 0], end: [0, 1]}
    - class_path: vlcal.callbacks.ReweightingSchedule
      init_args: {start: 0.0, end: 0.1}
    - class_path: vlcal.callbacks.RewardWeightSchedule
      init_args: {name: visual, start: 0.0, end: 0.4}
    - class_path: vlcal.callbacks.ReliabilityDiagram
      init_args: {folder: some/where}
    - class_path: vlcal.callbacks.PredictionWriter
      init_args: {path: some/where.jsonl}
    - class_path: vlcal.callbacks.ModelExport
      init_args: {folder: some/where}
    - class_path: vlcal.callbacks.CompletionTable
    - class_path: vlcal.callbacks.CertaintyMonitor
    - class_path: vlcal.callbacks.CollapseWatch
    - class_path: vlcal.callbacks.ProgressBar
"""


def callbacks_of(text: str, folder: Path) -> list:
    (folder / "config.yaml").write_text(text)
    cli = LightningCLI(
        Idle,
        run=False,
        save_config_callback=None,
        seed_everything_default=False,
        parser_kwargs={"parser_mode": "omegaconf+"},
        args=["--config", str(folder / "config.yaml")],
    )
    return cli.trainer.callbacks


def test_every_callback_can_be_written_in_yaml(tmp_path: Path) -> None:
    found = callbacks_of(YAML, tmp_path)
    parts = {each.slot: each.part for each in found if isinstance(each, UsePart)}
    assert isinstance(parts["perturbation"], GaussianNoise)
    assert parts["perturbation"].strength == 0.25
    assert isinstance(parts["reweighter"], UniformReweighter)
    assert parts["certainty"].labeler.size == 64
    assert any(isinstance(each, ProgressBar) for each in found)


def test_a_wrong_slot_in_yaml_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((SystemExit, ValueError)) as stop:
        callbacks_of(YAML.replace("slot: perturbation", "slot: verifier"), tmp_path)
    assert "`slot` must be one of perturbation" in capsys.readouterr().err + str(stop.value)
