"""From a folder of images and a table to an adapter, and from that to answers: what a new user types."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import yaml

import vlcal
from vlcal.cli import main
from vlcal.errors import UserError

SAMPLING, DATA = "--model.init_args.sampling.init_args", "--data.init_args"
SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.limit_train_batches", "2", "--trainer.max_epochs", "1"),
    *("--trainer.limit_val_batches", "2", f"{DATA}.batch_size", "2", f"{DATA}.workers", "0"),
    *(f"{SAMPLING}.group_size", "3", f"{SAMPLING}.training.init_args.max_new_tokens", "6"),
    *("--model.init_args.policy.init_args.dtype", "float32", "--trainer.enable_model_summary", "false"),
    *("--trainer.callbacks+", "vlcal.callbacks.ModelExport", "--trainer.callbacks.folder", "adapter"),
]


@pytest.fixture(scope="module")
def desk(own_data: Path, embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which init, doctor and fit have run on one's own data."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["init", str(own_data), "--model", str(embedded)])
        main(["doctor", "--config", "experiment.yaml", "--memory", "8", *SMALL])
        main(["fit", "--config", "experiment.yaml", *SMALL])
    return folder


def test_the_config_is_short_says_what_it_assumed_and_is_complete_by_its_recipe(desk: Path, embedded: Path) -> None:
    written = (desk / "experiment.yaml").read_text(encoding="utf-8")

    assert len(written.splitlines()) <= 40
    for said in ("24 rows", "24 images of 96 x 32", "columns question, answer, image", "every answer is a number"):
        assert said in written
    config = yaml.safe_load(written)
    assert config["recipe"] == "consumer"
    assert config["model"]["init_args"]["policy"]["init_args"]["path"] == str(embedded)
    saved = yaml.safe_load((desk / "runs/experiment/tensorboard/config.yaml").read_text(encoding="utf-8"))
    assert saved["model"]["init_args"]["pipeline"]["init_args"]["certainty"]["class_path"].endswith("JointCertainty")


def test_training_leaves_a_checkpoint_and_predictions_with_verdicts(desk: Path) -> None:
    rows = [json.loads(line) for line in (desk / "runs/experiment/validation.jsonl").read_text().splitlines()]

    assert [*(desk / "runs/experiment/checkpoints").iterdir()] == [desk / "runs/experiment/checkpoints/last.ckpt"]
    assert rows and all(row["correct"] in (0, 1) for row in rows)


def test_a_run_and_its_adapter_give_the_same_reply(desk: Path, own_data: Path) -> None:
    run, adapter = (vlcal.load(desk / name, device="cpu") for name in ("runs/experiment", "adapter"))
    question = "What is the first digit?"

    reply = run.ask(own_data / "0.png", question)

    assert run.pipeline.reader.grammar.levels == tuple(range(10))  # of the recipe, where 0 to 10 is the default
    assert reply.response and not reply.parsed and math.isnan(reply.overall)  # of six tokens
    for again in (run.ask(str(own_data / "0.png"), question), adapter.ask(own_data / "0.png", question)):
        assert again.response == reply.response
    assert run.image_size.max_pixels == adapter.image_size.max_pixels == 524288


def test_a_file_of_questions_is_answered_row_by_row_with_a_decision(desk: Path, own_data: Path) -> None:
    judged = [{"id": str(n), "overall": 0.5 + n % 2 / 4, "correct": n % 2} for n in range(400)]
    (desk / "judged.jsonl").write_text("\n".join(map(json.dumps, judged)), encoding="utf-8")

    given = ["--file", str(own_data / "labels.csv"), "--model", str(desk / "runs/experiment"), "--batch_size", "16"]
    rule = ["--risk", "0.1", "--validation", str(desk / "judged.jsonl")]

    main(["ask", *given, *rule, "--output", str(desk / "answers.jsonl")])
    rows = [json.loads(line) for line in (desk / "answers.jsonl").read_text().splitlines()]

    assert len(rows) == 24
    for row in rows:  # above 0.5 all of the validation is right
        assert row["decision"] == ("answer" if (row["overall"] or 0) > 0.5 else "abstain")


def test_one_question_is_answered_with_confidences_and_the_guarantee(
    desk: Path, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = desk / "runs" / "experiment"
    rule = ["--risk", "0.01", "--validation", str(run / "validation.jsonl")]

    main(["ask", str(own_data / "0.png"), "What is the first digit?", "--model", str(run), "--certainty", *rule])
    said = capsys.readouterr().out

    for name in ("answer", "visual", "reasoning", "overall", "certainty", "response"):
        assert f"\n{name} " in f"\n{said}"
    assert "abstain: no threshold keeps the risk at 1.0%" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["img.png"], "either IMAGE and QUESTION must be given, or both .*; got IMAGE"),
        (["--file", "q.csv"], "`--file` must come with `--output`"),
        (["a.png", "Q?", "--risk", "0.1"], "`validation` must name predictions with verdicts"),
    ],
)
def test_arguments_that_do_not_belong_together_are_refused_before_a_model_is_loaded(
    words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["ask", *words, "--model", "nowhere"])


def test_a_config_is_not_overwritten_and_a_recipe_must_exist(own_data: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("recipe: consumers\n", encoding="utf-8")

    with pytest.raises(SystemExit, match="`output` must be new"):
        main(["init", str(own_data), "--output", str(config)])
    with pytest.raises(SystemExit, match="`recipe` must be one of consumer, .* names 'consumers'"):
        main(["fit", "--config", str(config)])


@pytest.mark.parametrize(("rows", "decided"), [(285, False), (290, True)])  # a fifth of 290 is 58
def test_a_decision_at_a_risk_is_proposed_where_enough_questions_are_held_out(
    own_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, decided: bool
) -> None:
    shutil.copy(own_data / "0.png", tmp_path)
    lines = [f"0.png,How many are {number}?,{number}" for number in range(rows)]
    (tmp_path / "many.csv").write_text("\n".join(["image,question,answer", *lines]), encoding="utf-8")

    main(["init", str(tmp_path / "many.csv"), "--output", str(tmp_path / "many.yaml")])
    asked = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Ask"))

    assert ("--risk 0.1 --validation runs/many/validation.jsonl" in asked) == decided
    assert "vlcal ask IMAGE QUESTION --model runs/many" in asked


def test_a_folder_without_a_model_is_refused_with_what_was_missed(tmp_path: Path, embedded: Path) -> None:
    with pytest.raises(UserError, match="holds neither config.json, nor adapter_config.json, nor the config.yaml"):
        vlcal.load(tmp_path)
    with pytest.raises(UserError, match="`config` must name the config of the run, .* has no vlcal.yaml"):
        vlcal.load(embedded)
