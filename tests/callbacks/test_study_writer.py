"""Probes and readouts on real runs: what is written, when, and what is left alone."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from vlcal.callbacks import ProbeWriter, ReadoutWriter
from vlcal.cli import main
from vlcal.evaluation.report.runs import load_runs
from vlcal.evaluation.trust import trust_figures
from vlcal.modules import ReinforcementModule
from vlcal.policy import LoRA, PolicySpec, RolloutEngine, TransformersEngine
from vlcal.probes import (
    AlteredReading,
    CorruptionCurve,
    ExpectedLevel,
    HiddenResponse,
    MeasuredCertainty,
    Probe,
    RemovedImage,
    ResponseLikelihood,
    SelfConsistency,
    StatedLevel,
    SwappedVision,
    TrueProbability,
)
from vlcal.probes.study import Study
from vlcal.training.sampling import Sampling
from vlcal.types import PromptBatch

Make = Callable[..., Any]
Scenes = Callable[[int], PromptBatch]
Respond = Callable[..., list[str]]
CONFIGS = Path(__file__).parents[2] / "configs" / "digits"


def strict(text: str) -> Any:
    """JSON without the words that JavaScript knows and JSON does not."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def module(embedded: Path, make_pipeline: Make) -> Callable[[RolloutEngine], ReinforcementModule]:
    """A module that samples with an engine."""

    def made(engine: RolloutEngine) -> ReinforcementModule:
        spec = PolicySpec(str(embedded), LoRA(2), dtype="float32")
        return ReinforcementModule(spec, make_pipeline(), Sampling(2, TransformersEngine(4), engine))

    return made


@pytest.fixture
def validate(module: Make, trainer: Make, scenes: Scenes, replay: Make, respond: Respond) -> Callable[..., Trainer]:
    """Validates responses to two batches of the same two scenes under some callbacks."""

    def run(*callbacks: Callback, stage: str = "validate", texts: list[str] | None = None) -> Trainer:
        prompts = scenes(2)
        judged = module(replay(texts or respond(prompts, offsets=(0,))))
        runner = trainer(*callbacks)
        settings = {"return_predictions": False} if stage == "predict" else {"verbose": False}
        getattr(runner, stage)(judged, DataLoader([prompts, prompts], batch_size=None), **settings)
        return runner

    return run


class Asked(Probe):
    """Writes down how many responses it was shown at a time."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.rows: list[int] = []

    def __call__(self, study: Study) -> Mapping[str, Tensor]:
        self.rows.append(len(study.assessment))
        if self.failing == "call" and len(self.rows) == 2:
            raise RuntimeError("the second batch is too much")
        return {"correct": study.assessment.responses.correct}

    def summarize(self, columns: Mapping[str, Tensor]) -> dict[str, Any]:
        if self.failing == "summary":
            return {"correct": math.nan}
        return {"correct": columns["correct"].tolist()}


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_probes_of_all_batches_are_written_when_the_evaluation_ends(validate: Make, tmp_path: Path, stage: str) -> None:
    path = tmp_path / "deep" / "after.probes.json"
    probes = {"asked": Asked(), "swapped": SwappedVision(), "corruption": CorruptionCurve(severities=(0, 1))}

    validate(ProbeWriter(path, probes), stage=stage)

    written = strict(path.read_text(encoding="utf-8"))
    assert list(written) == ["asked", "swapped", "corruption"]
    assert written["asked"] == {"correct": [1.0] * 4}
    assert written["swapped"]["responses"] == {"asked": 4, "used": 4}
    curve = written["corruption"]
    assert all(len(curve[name]) == 2 for name in ("severity", "accuracy", "overall", "visual", "reasoning"))
    assert [path.name for path in path.parent.iterdir()] == ["after.probes.json"]


def test_readouts_stand_side_by_side_and_their_auroc_is_logged(
    validate: Make, respond: Respond, scenes: Scenes, tmp_path: Path
) -> None:
    texts = [*respond(scenes(1), offsets=(0,), level=9), "no idea"]
    readouts = {"stated": StatedLevel(), "expected": ExpectedLevel(), "certainty": MeasuredCertainty()}

    run = validate(ReadoutWriter(tmp_path / "after.readouts.jsonl", readouts), texts=texts)

    rows = [strict(line) for line in (tmp_path / "after.readouts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["correct"] for row in rows] == [1.0, 0.0] * 2
    assert [row["stated_visual"] for row in rows] == [0.9, None] * 2
    assert rows[0]["stated_overall"] == pytest.approx(18 / 19, abs=1e-6)
    assert 0 < rows[0]["expected_overall"] < 1 and rows[1]["expected_overall"] is None
    assert [row["perception_correct"] for row in rows] == [1.0, 0.0] * 2
    assert rows[0]["id"] == rows[2]["id"] != rows[1]["id"]
    # A response that states nothing counts as wrong and unsure: 0.5 against 0.9.
    assert run.callback_metrics["val/readout/stated_overall/auroc"] == 1.0
    # The certainty of the only response of its batch with a vision part is 0.5 too.
    assert [row["certainty_visual"] for row in rows] == [0.5, None] * 2
    assert run.callback_metrics["val/readout/certainty_visual/auroc"] == 0.5


def test_an_undefined_auroc_is_not_logged(validate: Make, tmp_path: Path) -> None:
    run = validate(ReadoutWriter(tmp_path / "readouts.jsonl", {"stated": StatedLevel()}))  # every response is right

    assert not [name for name in run.callback_metrics if name.startswith("val/readout")]


def test_the_logged_auroc_is_that_of_scoring_the_file(
    validate: Make, respond: Respond, scenes: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "readouts.jsonl"
    texts = [*respond(scenes(1), offsets=(0,), level=2), "no idea"]
    run = validate(ReadoutWriter(path, {"stated": StatedLevel(), "certainty": MeasuredCertainty()}), texts=texts)

    for name, truth in (("stated_overall", "correct"), ("stated_visual", "perception_correct")):
        capsys.readouterr()
        main(["score", str(path), "--confidence", name, "--correct", truth, "--format", "json", "--draws", "0"])

        scored = strict(capsys.readouterr().out)
        assert scored["counts"]["overall"] == {"n": 4, "questions": 2, "unparsed": 2, "unknown": 0}
        # 0.5 for an absent confidence is more than the level that was stated: as the least sure it would be 1.
        assert scored["overall"]["auroc"]["value"] == run.callback_metrics[f"val/readout/{name}/auroc"] == 0


@pytest.mark.parametrize("failing", ["call", "summary"])
def test_an_exception_leaves_the_earlier_file_and_nothing_half_written(
    validate: Make, tmp_path: Path, failing: str
) -> None:
    path = tmp_path / "after.probes.json"
    path.write_text("{}\n", encoding="utf-8")

    with pytest.raises((RuntimeError, ValueError), match="too much|not JSON compliant"):
        validate(ProbeWriter(path, {"asked": Asked(failing)}))

    assert [file.name for file in tmp_path.iterdir()] == ["after.probes.json"]
    assert path.read_text(encoding="utf-8") == "{}\n"


def test_one_seed_gives_one_file(module: Make, trainer: Make, scenes: Scenes, tmp_path: Path) -> None:
    prompts = scenes(2)
    files = []
    for name in ("first", "second"):
        torch.manual_seed(len(files))  # whatever the global generator holds
        probes = {"removed": RemovedImage(), "hidden": HiddenResponse()}
        readouts = {"consistency": SelfConsistency(2), "true": TrueProbability()}
        writers = (
            ProbeWriter(tmp_path / f"{name}.json", probes),
            ReadoutWriter(tmp_path / f"{name}.jsonl", readouts),
        )
        judged = module(TransformersEngine(4))
        trainer(*writers).validate(judged, DataLoader([prompts], batch_size=None), verbose=False)
        files.append([(tmp_path / f"{name}.{suffix}").read_bytes() for suffix in ("json", "jsonl")])

    assert files[0] == files[1]


@pytest.mark.parametrize("writer", [ProbeWriter, ReadoutWriter])
def test_a_module_without_a_policy_is_refused_before_anything_is_done(
    writer: type, build: Make, learner: Make, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    parts = {"probe": RemovedImage()} if writer is ProbeWriter else {"readout": StatedLevel()}
    refusal = f"`{writer.__name__}` needs the policy .* of a ReinforcementModule, .*; Learner is none. Take it out"

    with pytest.raises(ValueError, match=refusal):
        trainer(writer(tmp_path / "file", parts)).validate(learner([build()]), loader(1), verbose=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("parts", [{}, {"a/b": RemovedImage()}, {"": RemovedImage()}])
def test_probes_without_a_proper_name_are_refused(parts: dict[str, Probe], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`probes` must map a name without a slash to each part, one at least; got"):
        ProbeWriter(tmp_path / "file", parts)


def test_deleting_the_writers_changes_no_weight(module: Make, trainer: Make, scenes: Scenes, tmp_path: Path) -> None:
    prompts = scenes(2)
    loader = DataLoader([prompts, prompts], batch_size=None)
    ends = []
    for writers in (
        [],
        [
            ProbeWriter(tmp_path / "probes.json", {"corruption": CorruptionCurve(severities=(0, 1)), "asked": Asked()}),
            ReadoutWriter(tmp_path / "readouts.jsonl", {"expected": ExpectedLevel(), "more": SelfConsistency(2)}),
        ],
    ):
        lightning.seed_everything(0, verbose=False)
        learning = module(TransformersEngine(4))
        trainer(*writers, val_check_interval=1, num_sanity_val_steps=1).fit(learning, loader, loader)
        ends.append([*(weight.detach().clone() for weight in learning.policy.parameters()), torch.rand(1)])

    assert all(torch.equal(*pair) for pair in zip(*ends, strict=True))
    # The last validation alone, not its forerunners nor the sanity check.
    assert len(strict((tmp_path / "probes.json").read_text(encoding="utf-8"))["asked"]["correct"]) == 4


def test_the_recipe_of_probes_runs_from_the_shell_and_the_report_reads_it(embedded: Path, tmp_path: Path) -> None:
    shutil.copytree(embedded, tmp_path / "warm")
    sampling = "--model.init_args.sampling.init_args"

    main(
        [
            "validate",
            *("--config", str(CONFIGS / "best.yaml"), "--config", str(CONFIGS / "probes.yaml")),
            *("--trainer.default_root_dir", str(tmp_path), "--trainer.logger", "false"),
            *("--data.init_args.steps", "1", "--data.init_args.batch_size", "2", "--data.init_args.held_out", "2"),
            *(f"{sampling}.validation.init_args.max_new_tokens", "4"),
        ]
    )

    probes = strict((tmp_path / "after.probes.json").read_text(encoding="utf-8"))
    rows = [strict(line) for line in (tmp_path / "after.readouts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"corruption", "removed_image", "swapped_vision", "hidden_response"} <= probes.keys()
    assert len(rows) == 4  # two of each scene
    (run,) = load_runs([tmp_path / "after.jsonl"])
    assert run.probes == probes
    assert "readout_sequence_likelihood" in run.readouts["overall"]  # the others found nothing in what it wrote


def test_a_validation_of_groups_logs_every_figure_of_the_summary(
    embedded: Path,
    make_pipeline: Make,
    trainer: Make,
    scenes: Scenes,
    replay: Make,
    respond: Respond,
    tmp_path: Path,
) -> None:
    prompts = scenes(2)
    sampling = Sampling(2, TransformersEngine(4), replay(respond(prompts)), validation_group_size=2)
    judged = ReinforcementModule(PolicySpec(str(embedded), LoRA(2), dtype="float32"), make_pipeline(), sampling)
    runner = trainer(
        ProbeWriter(tmp_path / "p.json", {"altered": AlteredReading(readable=0.0)}),
        ReadoutWriter(tmp_path / "r.jsonl", {"ceiling": ResponseLikelihood()}),
    )

    runner.validate(judged, DataLoader([prompts], batch_size=None), verbose=False)

    logged = runner.callback_metrics
    assert logged["val/calibration/within_auroc"] == 1.0  # of two responses the right one states more
    assert 0 <= logged["val/readout/ceiling_overall/within_auroc"] <= 1
    figures = trust_figures(logged)
    assert 0 <= figures["altered_fall_ceiling"] <= 1
    assert figures["reasoning_wrong"] is not None
