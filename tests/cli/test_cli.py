"""The command line, run in this process as a user types it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import vlcal
from tests.cli.conftest import BEST, CONFIGS
from vlcal.cli import main
from vlcal.commands.catalogue import EVERY_COMMAND


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command writes before it exits with the given status."""

    def run(*args: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(args))
        said = capsys.readouterr()
        assert ended.value.code == status, said.err
        return said.err if status else said.out

    return run


OVERLAYS = {"probes.yaml": "best.yaml", "verdict.yaml": "base.yaml"}


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_every_recipe_is_read_and_its_references_resolve(printed: Callable[..., str], name: str) -> None:
    configs = [part for config in (OVERLAYS.get(name), name) if config for part in ("--config", str(CONFIGS / config))]

    shown = printed("fit", *configs, "--trainer.default_root_dir", "elsewhere", "--print_config")

    assert "class_path: vlcal.modules." in shown
    assert "seed_everything: 0" in shown


def test_one_value_from_the_shell_reaches_every_place_that_refers_to_it(small: list[str]) -> None:
    # The seed of the data and the path of the checkpoint are references to these two.
    figures = fitted([*small, "--seed_everything", "7"])

    assert figures["seed"] == 7 and figures["path"].endswith("/warm")


def fitted(args: list[str]) -> dict[str, Any]:
    """Trains as told; what the parts were made with, and the figures."""
    from vlcal.commands.trainer import Cli

    command = Cli(["fit", *args])
    module, data = command.model, command.datamodule
    return {
        "seed": data.train.seed,
        "path": module.spec.path,
        "sampling_seed": module.sampling.seed,
        "perturbation": module.pipeline.perturbation,
        "metrics": {name: float(value) for name, value in command.trainer.callback_metrics.items()},
    }


def test_a_part_is_swapped_by_its_class_from_the_shell(small: list[str]) -> None:
    from vlcal.perturbations import Blur

    part = "--model.init_args.pipeline.init_args.perturbation"
    perturbation = fitted([*small, part, "vlcal.perturbations.Blur", f"{part}.init_args.strength", "0.25"])[
        "perturbation"
    ]

    assert type(perturbation) is Blur and perturbation.strength == 0.25


@pytest.mark.parametrize(
    ("typo", "named"),
    [
        (["--model.init_args.sampling.init_args.group_sizes", "3"], "group_sizes"),
        (["--model.init_args.pipeline.init_args.perturbation.init_args.strenght", "0.5"], "strenght"),
        (["--data.init_args.step", "3"], "step"),
        (["--trainer.max_epoch", "3"], "max_epoch"),
        (["--model.init_args.pipeline.init_args.perturbation", "vlcal.perturbations.Bluur"], "Bluur"),
    ],
)
def test_a_typo_in_the_shell_ends_in_one_error_that_names_it(
    printed: Callable[..., str], typo: list[str], named: str
) -> None:
    said = printed("fit", *BEST, *typo, status=2)

    assert said.count("error:") == 1
    assert named in said


@pytest.mark.parametrize(
    ("right", "typo"),
    [
        (" group_size:", " group_sise:"),
        ("max_epochs:", "max_epoch:"),
        ("held_out:", "holdout:"),
        ("rewards:", "reward:"),
    ],
)
def test_a_typo_in_a_config_ends_in_one_error_that_names_it(
    printed: Callable[..., str], tmp_path: Path, right: str, typo: str
) -> None:
    text = (CONFIGS / "best.yaml").read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "typo.yaml").write_text(text.replace(right, typo), encoding="utf-8")

    said = printed("fit", "--config", str(tmp_path / "typo.yaml"), status=2)

    assert said.count("error:") == 1
    assert typo.strip(" :") in said


def test_an_error_of_the_parser_is_one_line_with_the_place_of_the_key(printed: Callable[..., str]) -> None:
    part = "--model.init_args.pipeline.init_args.perturbation"
    said = printed("fit", *BEST, part, "PatchMask", f"{part}.init_args.strenght", "0.5", status=2)

    assert said == (
        "vlcal: error: model.pipeline.perturbation: Option 'strenght' is not accepted; did you mean 'strength'?\n"
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            "trainer: {callbacks: [{init_args: {patience: 3}}]}",
            "`trainer.callbacks` must say which Callback it is, by `class_path` beside `init_args`; got {'init_args':",
        ),
        (
            "data: {init_args: {train: {path: x.csv}}}",
            "`data.train` must say which Source it is, by `class_path` beside `init_args`; got none. Its settings:",
        ),
    ],
)
def test_a_part_without_a_class_is_told_to_name_one(
    printed: Callable[..., str], tmp_path: Path, config: str, said: str
) -> None:
    (tmp_path / "own.yaml").write_text(f"recipe: consumer\n{config}\n", encoding="utf-8")

    refused = printed("fit", "--config", str(tmp_path / "own.yaml"), "--print_config", status=2)

    assert said in refused and refused.count("\n") == 1


def test_a_config_that_is_not_there_is_named(printed: Callable[..., str]) -> None:
    assert "nowhere.yaml" in printed("fit", "--config", "nowhere.yaml", status=2)


@pytest.mark.parametrize("option", ["--config", "--data"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"steps: \xe9\xff", "can't decode byte 0xe9"),
        (b"\0\0\0\0", "#x0000"),
        (b"steps: [1\nseed: }", "while parsing a flow sequence"),
    ],
    ids=["another encoding", "binary", "broken"],
)
def test_a_config_that_is_no_text_or_no_yaml_is_named_in_one_line(
    tmp_path: Path, option: str, content: bytes, reason: str
) -> None:
    (tmp_path / "odd.yaml").write_bytes(content)

    with pytest.raises(SystemExit, match=rf"^vlcal: error: `config` must be YAML in UTF-8; .*odd\.yaml.*{reason}.*$"):
        main(["fit", *BEST, option, str(tmp_path / "odd.yaml")])


@pytest.mark.parametrize(("content", "kind"), [("1", "int"), ("[1, 2]", "list"), ("a word", "str")])
def test_a_config_that_is_a_lone_value_is_named_in_one_line(tmp_path: Path, content: str, kind: str) -> None:
    (tmp_path / "odd.yaml").write_text(content)

    with pytest.raises(SystemExit, match=rf"^vlcal: error: `config` must hold .*; .*odd\.yaml holds a {kind} alone\.$"):
        main(["fit", "--config", str(tmp_path / "odd.yaml")])


@pytest.mark.parametrize(("typed", "meant"), [("scroe", "score"), ("fti", "fit"), ("valdiate", "validate")])
def test_a_command_that_does_not_exist_is_refused_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    with pytest.raises(
        SystemExit, match=f"^vlcal: error: .*fit.*demo.*score, ui; got '{typed}', did you mean '{meant}'.$"
    ):
        main([typed, "outputs.jsonl"])


def test_a_missing_command_is_refused_with_all_there_are() -> None:
    with pytest.raises(
        SystemExit, match=r"^vlcal: error: the command must be one of fit, .*demo.*score, ui; got none$"
    ):
        main([])


def test_an_empty_dataset_is_refused(small: list[str]) -> None:
    with pytest.raises(SystemExit, match="`held_out`.*must be at least 1.*empty; got 0"):
        main(["validate", *small, "--data.init_args.held_out", "0"])


def test_a_missing_policy_is_named(small: list[str], folder: Path) -> None:
    shutil.rmtree(folder / "warm")

    with pytest.raises(SystemExit, match=f"vlcal: error: `path` must be a vision-language checkpoint.*{folder}/warm"):
        main(["validate", *small])


def test_a_broken_policy_is_named(small: list[str], folder: Path) -> None:
    (folder / "warm" / "model.safetensors").write_bytes(b"\0" * 100)

    with pytest.raises(SystemExit, match=f"vlcal: error: `path` must be a vision-language checkpoint.*{folder}/warm"):
        main(["validate", *small])


def test_a_broken_or_missing_checkpoint_is_named(small: list[str], tmp_path: Path) -> None:
    (tmp_path / "cut.ckpt").write_bytes(b"PK\3\4 and no end")

    with pytest.raises(SystemExit, match=r"vlcal: error: `ckpt_path` must be a checkpoint; .*cut\.ckpt is damaged"):
        main(["validate", *small, "--ckpt_path", str(tmp_path / "cut.ckpt")])
    with pytest.raises(SystemExit, match=r"`ckpt_path` must be a checkpoint; .*gone\.ckpt is not there"):
        main(["validate", *small, "--ckpt_path", str(tmp_path / "gone.ckpt")])


def test_what_no_run_wrote_is_refused_as_a_checkpoint(small: list[str], folder: Path) -> None:
    torch.save({"state_dict": {}}, folder / "weights.ckpt")
    with zipfile.ZipFile(folder / "texts.ckpt", "w") as archive:
        archive.writestr("thesis.txt", "years of work")

    for name, said in (("weights.ckpt", "another archive"), ("texts.ckpt", "another archive"), ("warm", "a folder")):
        with pytest.raises(SystemExit, match=f"^vlcal: error: `ckpt_path` must be .*{name} is {said}[^\n]*$"):
            main(["validate", *small, "--ckpt_path", str(folder / name)])


def test_a_missing_image_is_named_with_its_row(small: list[str], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "?", "answer": "1", "images": ["gone.png"]}) + "\n", encoding="utf-8")
    data = ["--data", "vlcal.data.VisionQuestions", "--data.init_args.validation", "vlcal.data.JsonLines"]
    data += ["--data.init_args.validation.init_args.path", str(rows)]
    start = small.index("--data.init_args.steps")

    with pytest.raises(SystemExit, match=r"rows\.jsonl, row 1: image .*gone\.png is not there"):
        main(["validate", *small[:start], *small[start + 6 :], *data])


def test_what_a_worker_of_the_loader_refuses_is_one_line(small: list[str], tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(png, "png")
    (tmp_path / "cut.png").write_bytes(png.getvalue()[:1000])
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "?", "answer": "1", "images": ["cut.png"]}) + "\n", encoding="utf-8")
    data = ["--data", "vlcal.data.VisionQuestions", "--data.init_args.validation", "vlcal.data.JsonLines"]
    data += ["--data.init_args.validation.init_args.path", str(rows), "--data.init_args.workers", "1"]
    start = small.index("--data.init_args.steps")

    with pytest.raises(SystemExit, match=r"^vlcal: error: [^\n]*rows\.jsonl, row 1: [^\n]*cut\.png[^\n]*\Z"):
        main(["validate", *small[:start], *small[start + 6 :], *data])


FAULTS = """
from lightning.pytorch import Callback

class WrongUnpacking(Callback):
    def __init__(self):
        first, second = [1]

class StrictZip(Callback):
    def setup(self, trainer, pl_module, stage):
        list(zip([1], [], strict=True))

class BrokenCleanup(Callback):
    def on_exception(self, trainer, pl_module, exception):
        1 / 0

class Interrupted(Callback):
    def __init__(self):
        raise KeyboardInterrupt
"""


@pytest.mark.parametrize(
    ("callback", "error", "message"),
    [
        ("WrongUnpacking", ValueError, "not enough values to unpack"),
        ("StrictZip", ValueError, "argument 2 is shorter"),
        ("BrokenCleanup", ZeroDivisionError, "division by zero"),  # while a refused policy is handled
        ("Interrupted", KeyboardInterrupt, "^$"),
    ],
)
def test_a_fault_keeps_its_traceback(
    small: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    callback: str,
    error: type[BaseException],
    message: str,
) -> None:
    (folder / "faults.py").write_text(FAULTS, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("VLCAL_PARTS", "faults")
    shutil.rmtree(folder / "warm")

    with pytest.raises(error, match=message):
        main(["validate", *small, "--trainer.callbacks", f"faults.{callback}"])


def test_predict_answers_rows_without_an_answer_and_writes_over_no_earlier_file(small: list[str], folder: Path) -> None:
    Image.effect_noise((64, 64), 50).save(folder / "1.png")
    rows = [{"question": "?", "images": ["1.png"]}, {"question": "?", "images": ["1.png"], "answer": "1"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = ["--data", "vlcal.data.VisionQuestions", "--data.init_args.validation", "vlcal.data.JsonLines"]
    data += ["--data.init_args.validation.init_args.path", str(folder / "rows.jsonl")]
    start = small.index("--data.init_args.steps")
    data += ["--model.init_args.pipeline.init_args.reader.init_args.oracle", "vlcal.verifiers.NoOracle"]
    own = [*small[:start], *small[start + 6 :], *data]

    main(["predict", *own])
    first = (folder / "predictions.jsonl").read_bytes()
    main(["predict", *own])

    unanswered, answered = (json.loads(line) for line in first.splitlines())
    assert unanswered["correct"] is unanswered["reward"] is None and unanswered["response"]
    assert answered["correct"] == 0.0
    assert (folder / "predictions.jsonl").read_bytes() == first
    assert (folder / "predictions-2.jsonl").is_file()
    with pytest.raises(SystemExit, match="row 1: the answer must be a text"):
        main(["validate", *own])


def test_help_of_a_part_tells_what_can_be_set(printed: Callable[..., str]) -> None:
    module = printed("fit", "--model.help", "vlcal.modules.ReinforcementModule")
    perturbation = printed("fit", *BEST, "--model.init_args.pipeline.init_args.perturbation.help", "PatchMask")
    update = printed("fit", *BEST, "--model.init_args.update.help", "vlcal.training.Update")

    for setting in ("pipeline", "sampling", "update", "optimization"):
        assert re.search(rf"--model\.(init_args\.)?{setting}\b", module), setting
    assert "How the stated confidences are learned" in " ".join(update.split())
    assert "Share of patches masked, in [0, 1]" in " ".join(perturbation.split())


def test_the_demo_explains_itself(printed: Callable[..., str]) -> None:
    assert "Name of the reinforcement config in configs/digits" in " ".join(printed("demo", "--help").split())


def test_fit_and_validate_run_end_to_end_and_one_seed_gives_identical_figures(small: list[str], folder: Path) -> None:
    first, again = fitted(small)["metrics"], fitted(small)["metrics"]

    assert json.dumps(first, sort_keys=True) == json.dumps(again, sort_keys=True)
    assert {"val/calibration/ece", "train/reward/total", "train/objective/gradient_norm"} <= first.keys()


@pytest.mark.parametrize("name", ["best", "published"])
def test_each_recipe_takes_a_step_held_close_to_the_reference(small: list[str], name: str) -> None:
    metrics = fitted(["--config", str(CONFIGS / f"{name}.yaml"), *small[len(BEST) :]])["metrics"]

    assert metrics["train/objective/gradient_norm"] >= 0
    assert {"train/objective/policy_loss", "train/objective/reference_kl"} <= metrics.keys()


def test_the_printed_config_shows_the_parts_that_a_recipe_leaves_to_their_defaults(printed: Callable[..., str]) -> None:
    shown = printed("fit", "--config", str(CONFIGS / "published.yaml"), "--print_config")
    module = printed("fit", "--model.help", "vlcal.modules.ReinforcementModule")

    for part in ("certainty.BatchLabeler", "advantages.VisualCertaintyReweighter", "objectives.TokenMean"):
        assert f"class_path: vlcal.{part}" in shown
    for part in ("scores.HarmonicMean", "objectives.NoCorrection", "training.TorchAdamW"):
        assert f"class_path: vlcal.{part}" in shown
    assert "vlcal.training.Update" in module


def test_two_loggers_get_the_loss_the_time_of_each_phase_and_the_tokens_per_second(
    small: list[str], folder: Path
) -> None:
    loggers = [
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(folder), "name": "table"}},
        {
            "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
            "init_args": {"save_dir": str(folder), "name": "tb"},
        },
    ]
    main(
        [
            "fit",
            *small,
            "--trainer.logger",
            json.dumps(loggers),
            "--trainer.callbacks",
            '["vlcal.callbacks.Throughput"]',
        ]
    )

    heads = (folder / "table" / "version_0" / "metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    scalars = EventAccumulator(str(folder / "tb" / "version_0")).Reload().Tags()["scalars"]
    wanted = {f"train/seconds/{phase}" for phase in ("step", "sampling", "scoring", "update")}
    wanted |= {"train/speed/tokens_per_second", "train/objective/loss", "train/schedule/learning_rate"}
    assert wanted <= {*heads}
    assert wanted <= {*scalars}


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("--model.init_args.pipeline.init_args.perturbation", "vlcal.perturbations.PatchMusk", "PatchMask"),
        ("--trainer.max_epoch", "3", "max_epochs"),
        ("--model.init_args.sampling.init_args.group_sise", "3", "group_size"),
    ],
)
def test_what_is_refused_is_named_with_the_nearest_right_name(
    tmp_path: Path, printed: Callable[..., str], option: str, value: str, meant: str
) -> None:
    assert printed("fit", *BEST, option, value, status=2).endswith(f"; did you mean '{meant}'?\n")


@pytest.mark.parametrize("command", ["fit", "doctor"])
def test_a_run_in_which_nothing_learns_is_refused_in_one_line(small: list[str], command: str) -> None:
    frozen = ["--model.init_args.policy.init_args.adaptation", "vlcal.policy.Frozen"]
    memory = ["--memory", "8"] if command == "doctor" else []

    with pytest.raises(SystemExit, match=r"^vlcal: error: [^\n]*nothing learns; choose LoRA or QLoRA\.$"):
        main([command, *small, *frozen, *memory])


@pytest.mark.parametrize("way", [["cli.py"], ["-m", "vlcal"]])
def test_help_names_every_command_and_needs_neither_torch_nor_lightning(way: list[str]) -> None:
    # `-X importtime` tells on stderr what was imported: seconds of libraries, of which help needs none.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *way, "--help"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert all(f"\n  {name} " in done.stdout for name in EVERY_COMMAND)
    assert not re.search(r"\| +(torch|lightning|transformers|peft)$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(EVERY_COMMAND))
def test_help_of_a_command_imports_no_library_of_models(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vlcal", name, "--help"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(f"usage: vlcal {name} ")
    assert not re.search(r"\| +(torch|lightning|transformers|peft)$", done.stderr, re.MULTILINE)


def test_the_version_is_said(printed: Callable[..., str]) -> None:
    assert printed("--version") == f"vlcal {vlcal.__version__}\n"


def test_a_part_in_the_current_folder_can_be_named(small: list[str], folder: Path) -> None:
    (folder / "my_own_part.py").write_text(
        "from vlcal.perturbations import Blur\n\nclass MyBlur(Blur):\n    pass\n", encoding="utf-8"
    )
    script = "import sys; sys.path = [p for p in sys.path if p]; from vlcal.cli import main; main()"
    part = ["--model.init_args.pipeline.init_args.perturbation", "my_own_part.MyBlur"]
    done = subprocess.run(
        [sys.executable, "-c", script, "fit", *small, *part, "--print_config"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "VLCAL_PARTS": "my_own_part"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "class_path: my_own_part.MyBlur" in done.stdout, done.stderr
    assert not done.stderr  # also no word of another library, such as one about kernels


def test_an_evaluation_is_logged_at_the_step_of_its_weights(small: list[str], folder: Path) -> None:
    logger = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": str(folder)}}
    logger["init_args"] |= {"name": "tb", "version": ""}
    keep = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"dirpath": str(folder / "kept")}}
    keep["init_args"]["filename"] = "last"
    start = small.index("--trainer.enable_checkpointing")
    kept = [*small[:start], "--trainer.callbacks", json.dumps([keep])]
    logged = [*kept, "--trainer.logger", json.dumps(logger)]
    main(["fit", *kept, "--trainer.limit_val_batches", "0"])

    main(["validate", *logged])
    main(["validate", *logged, "--ckpt_path", str(folder / "kept" / "last.ckpt")])

    log = EventAccumulator(str(folder / "tb")).Reload()
    assert [event.step for event in log.Scalars("val/calibration/accuracy")] == [0, 1]


def test_a_validation_shows_the_figures_that_are_known_and_names_the_others(
    small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from vlcal.commands.trainer import figures_table

    shown, unknown = figures_table({"val/ece": torch.tensor(0.125), "val/auroc": torch.tensor(torch.nan)})
    assert shown.row_count == 1 and unknown == ["not known here: auroc"]

    main(["validate", *small])
    said = capsys.readouterr().out
    assert re.search(r"val/calibration/accuracy +[01.]", said)
    assert "DataLoader 0" not in said and " nan" not in said


def test_a_validation_that_is_to_be_quiet_shows_nothing(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", *small, "--verbose", "false"])

    assert "val/calibration" not in capsys.readouterr().out
