"""Observers see every step, write what they saw and change nothing that is learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vlcal.callbacks import (
    CertaintyMonitor,
    CollapseWatch,
    CompletionTable,
    Observer,
    PredictionWriter,
    ProgressBar,
    ReliabilityDiagram,
)
from vlcal.callbacks.collapse_watch import flat_groups, variety
from vlcal.types import Assessment

Make = Callable[..., Any]
NAN = math.nan
OBSERVERS = {
    "certainty": lambda folder: CertaintyMonitor(),
    "collapse": lambda folder: CollapseWatch(patience=100),
    "table": lambda folder: CompletionTable(every=1),
    "predictions": lambda folder: PredictionWriter(folder / "predictions.jsonl"),
    "bar": lambda folder: ProgressBar(),
    "diagram": lambda folder: ReliabilityDiagram(folder / "diagrams"),
}


def tensorboard(folder: Path) -> EventAccumulator:
    (events,) = folder.rglob("events.out*")
    return EventAccumulator(str(events), size_guidance={"images": 0, "tensors": 0}).Reload()


@pytest.mark.parametrize("name", OBSERVERS)
def test_deleting_an_observer_changes_no_weight(
    name: str, build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    ends = []
    for callbacks in ([], [OBSERVERS[name](tmp_path)]):
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        module = learner([build(perception_correct=[1, 0, 1, 0]), build()])
        logger = TensorBoardLogger(tmp_path, version=f"{name}-{len(callbacks)}")
        trainer(*callbacks, logger=logger).fit(module, loader(4), loader(2))
        ends.append([*(w.tolist() for w in module.parameters()), torch.rand(1).item(), np.random.rand()])  # noqa: NPY002
    assert ends[0] == ends[1]


@pytest.mark.parametrize("name", [name for name in OBSERVERS if name != "bar"])
def test_an_observer_of_steps_that_hand_on_nothing_says_so(
    name: str, build: Make, supervised: Make, fit: Make, tmp_path: Path
) -> None:
    observer = OBSERVERS[name](tmp_path)
    with pytest.raises(ValueError, match=f"`{type(observer).__name__}` watches steps .* Supervised handed on none"):
        fit(supervised([build()]), observer, steps=1)


def test_every_stage_is_observed_but_not_the_sanity_check(
    build: Make, learner: Make, trainer: Make, loader: Make
) -> None:
    class Witness(Observer):
        stages: list[str] = []  # noqa: RUF012

        def observe(self, trainer: Trainer, pl_module: LightningModule, assessment: Assessment, stage: str) -> None:
            assert not torch.is_grad_enabled()
            self.stages.append(stage)

    module, witness = learner([build()]), Witness()
    run = trainer(witness, num_sanity_val_steps=1)
    run.fit(module, loader(2), loader(1))
    run.test(module, loader(1), verbose=False)
    run.predict(module, loader(1), return_predictions=False)
    assert witness.stages == ["train", "train", "val", "test", "predict"]


def test_a_diagram_goes_to_tensorboard_and_to_the_folder(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    diagram = ReliabilityDiagram(tmp_path / "diagrams")
    run = trainer(diagram, logger=TensorBoardLogger(tmp_path / "tb"))
    run.validate(learner([build(perception_correct=[1, 0, 0, 0])]), loader(2), verbose=False)
    assert [path.name for path in (tmp_path / "diagrams").iterdir()] == ["val-000000.png"]
    assert tensorboard(tmp_path / "tb").Tags()["images"] == ["val/calibration/reliability"]


def test_a_diagram_stands_at_the_step_of_the_scalars_of_its_evaluation(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    class Scalar(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("val/scalar", 1.0)

    diagram = ReliabilityDiagram(tmp_path / "diagrams")
    run = trainer(diagram, Scalar(), logger=TensorBoardLogger(tmp_path / "tb"))
    module = learner([build()])
    run.fit(module, loader(3), loader(1))
    run.validate(module, loader(1), verbose=False)
    (folder,) = (tmp_path / "tb").rglob("version_0")
    found = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    steps = [image.step for image in found.Images("val/calibration/reliability")]
    assert steps == [scalar.step for scalar in found.Scalars("val/scalar")] == [2, 3]
    assert sorted(path.name for path in (tmp_path / "diagrams").iterdir()) == ["val-000002.png", "val-000003.png"]


def test_a_confidence_without_a_known_outcome_is_left_out(build: Make) -> None:
    from vlcal.callbacks.reliability_diagram import known_panels
    from vlcal.evaluation.metrics.training import Outcomes

    assert list(known_panels(Outcomes.of(build()))) == ["overall"]
    assert list(known_panels(Outcomes.of(build(perception_correct=[1, 0, 0, NAN])))) == ["overall", "visual"]
    assert known_panels(Outcomes.of(build(visual=[NAN] * 4))) == {}


def test_a_diagram_without_logger_and_folder_writes_nothing(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    trainer(ReliabilityDiagram()).validate(learner([build()]), loader(1), verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_tables_are_written_every_so_many_batches_and_once_per_evaluation(
    build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    run = trainer(CompletionTable(every=2, rows=2), logger=TensorBoardLogger(tmp_path / "tb"))
    run.fit(learner([build()]), loader(5), loader(3))
    found = tensorboard(tmp_path / "tb")
    assert [image.step for image in found.Images("train/completions/pictured")] == [0, 2, 4]
    assert len(found.Images("val/completions/pictured")) == 1
    (table,) = found.Tensors("val/completions/table/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    assert text.count("What is the sum?") == 2
    assert "reward accuracy" in text


def test_certainty_is_held_against_correctness_and_reading(build: Make, learner: Make, fit: Make) -> None:
    known = build(score=[3, 2, 1, 0], correct=[1, 1, 0, 0], perception_correct=[1, 0, 1, NAN])
    (row,) = fit(learner([known]), CertaintyMonitor(), steps=1)
    assert row["train/certainty/auroc_correct"] == 1.0
    assert row["train/certainty/auroc_read_right"] == 0.5  # 3 beats 2, and 1 does not


def test_responses_without_evidence_change_no_figure_of_certainty(build: Make, learner: Make, fit: Make) -> None:
    seen = build([0.5] * 4, [1, 0, 1, 0], score=[3, 2, 1, 0])
    beside = build([0.5] * 8, [1, 0, 1, 0, 1, 1, 1, 0], score=[3, 2, 1, 0, NAN, NAN, NAN, NAN])

    (alone,), (joined,) = (fit(learner([each]), CertaintyMonitor(), steps=1) for each in (seen, beside))

    assert joined == alone == {"train/certainty/auroc_correct": 0.75}


def test_one_class_alone_logs_no_certainty(build: Make, learner: Make, fit: Make) -> None:
    (row,) = fit(learner([build(correct=[1, 1, 1, 1])]), CertaintyMonitor(), steps=1)
    assert row == {}


def test_the_window_forgets_the_oldest_batches(build: Make, learner: Make, fit: Make) -> None:
    good, bad = build(score=[3, 2, 1, 0], correct=[1, 1, 0, 0]), build(score=[0, 1, 2, 3], correct=[1, 1, 0, 0])
    rows = fit(learner([good, bad, bad]), CertaintyMonitor(window=8), steps=3)
    figures = [row["train/certainty/auroc_correct"] for row in rows]
    assert figures[0] == 1.0
    assert 0 < figures[1] < 1
    assert figures[2] == 0.0


def test_certainty_of_an_evaluation_is_one_figure_over_all_of_it(
    build: Make, learner: Make, trainer: Make, loader: Make
) -> None:
    first, second = build(score=[3, 3, 3, 3], correct=[1, 1, 1, 1]), build(score=[0, 0, 0, 0], correct=[0, 0, 0, 0])
    run = trainer(CertaintyMonitor())
    run.validate(learner([first, second]), loader(2), verbose=False)
    assert run.callback_metrics["val/certainty/auroc_correct"] == 1.0


def test_variety_counts_values_and_measures_their_entropy() -> None:
    assert variety(torch.tensor([0.2, 0.2, 0.8, 0.8, NAN])) == (4, 2, pytest.approx(math.log(2)))
    assert variety(torch.tensor([0.7, 0.7])) == (2, 1, 0.0)
    assert variety(torch.tensor([NAN]))[:2] == (0, 0)
    stated = torch.tensor([0.1, 0.5, 0.5, NAN])
    assert variety(stated.flip(0)) == variety(stated)


def test_a_group_whose_rewards_are_equal_is_flat(build: Make) -> None:
    assert flat_groups(build(group_size=2, total=[0.3, 0.3, 0.3, 0.4])) == 0.5


def test_collapse_is_logged_and_warned_of_once(build: Make, learner: Make, fit: Make) -> None:
    narrow, wide = build(visual=[0.9] * 4, group_size=2), build(visual=[0.1, 0.4, 0.7, 0.9], group_size=2)
    with pytest.warns(
        UserWarning, match="Fewer than 3 distinct values of the visual and reasoning and overall"
    ) as said:
        rows = fit(learner([wide, narrow, narrow, narrow]), CollapseWatch(3, patience=2), steps=4)
    assert len([each for each in said if "distinct values" in str(each.message)]) == 1
    assert rows[0]["train/collapse/visual_distinct"] == 4
    assert rows[0]["train/collapse/visual_entropy"] == pytest.approx(math.log(4))
    assert rows[1]["train/collapse/visual_entropy"] == 0.0
    assert rows[0]["train/collapse/flat_groups"] == 0.0
    assert rows[0]["train/collapse/parse_rate"] == 1.0


def test_an_interrupted_streak_or_a_broken_form_is_no_collapse(build: Make, learner: Make, fit: Make) -> None:
    narrow, wide = build(visual=[0.9] * 4), build(visual=[0.1, 0.4, 0.7, 0.9])
    silent = build(visual=[NAN] * 4)
    fit(learner([narrow, wide, narrow, silent]), CollapseWatch(3, patience=2), steps=4)  # a warning would be an error


def test_the_bar_shows_the_figures_of_the_latest_batches(build: Make, learner: Make, fit: Make) -> None:
    shown = []

    class Bar(ProgressBar):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            super().on_train_batch_end(trainer, pl_module, *args)
            shown.append(self.get_metrics(trainer, pl_module))

    right = build(visual=[1.0] * 4, correct=[1] * 4)
    wrong = build(visual=[1.0] * 4, correct=[0] * 4)
    fit(learner([right, wrong, wrong]), Bar(steps=2), steps=3)
    assert [each["accuracy"] for each in shown] == [1.0, 0.5, 0.0]
    assert [each["ece"] for each in shown] == [0.0, 0.5, 1.0]
    assert [each["reward"] for each in shown] == [1.0, 0.5, 0.0]
    assert all(int(each["tokens/s"]) > 0 for each in shown)
    assert shown[-1]["left"] == "0:00:00"
    assert "v_num" not in shown[0]


def test_the_bar_runs_beside_steps_that_hand_on_nothing(
    build: Make, supervised: Make, fit: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(supervised([build()]), ProgressBar(), steps=2)
    shown = capsys.readouterr().out
    assert "2/2" in shown and "left: 0:00:00" in shown
    assert "reward" not in shown


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CertaintyMonitor(window=1), "`window` must be at least 2.*got 1"),
        (lambda: CollapseWatch(minimum_distinct=1), "`minimum_distinct` must be at least 2.*got 1"),
        (lambda: CollapseWatch(patience=0), "`patience` must be at least 1; got 0"),
        (lambda: CompletionTable(every=0), "`every` must be at least 1; got 0"),
        (lambda: CompletionTable(rows=0), "`rows` must be at least 1; got 0"),
        (lambda: ReliabilityDiagram(bins=0), "`bins` must be at least 1; got 0"),
        (lambda: ProgressBar(steps=0), "`steps` must be at least 1; got 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
