"""A run that was killed and resumed ends as one without a break: weights, optimizer, figures, prompts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[2]
HERE = "tests.modules.killed_runs"
ROWS, BATCH, EPOCHS = 8, 2, 2
KEPT = ("state_dict", "optimizer_states", "pipeline", "callbacks", "epoch", "global_step")
STEPS = EPOCHS * -(-ROWS // BATCH)
Run = Callable[..., int]


def part(class_path: str, /, **settings: object) -> dict[str, object]:
    return {"class_path": class_path, "init_args": settings}


def config(policy: Path, folder: Path, questions: Path, **data: object) -> dict[str, Any]:
    """A run of two epochs of four batches, whose parts remember, drop out and shuffle."""
    root, engine = str(folder), part(f"{HERE}.Scripted")
    source = part("vlcal.data.JsonLines", path=str(questions))
    return {
        "seed_everything": 3,
        "trainer": {
            "default_root_dir": root,
            "max_epochs": EPOCHS,
            "accelerator": "cpu",
            "num_sanity_val_steps": 0,
            "check_val_every_n_epoch": None,
            "val_check_interval": 3,
            "limit_val_batches": 2,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": part("lightning.pytorch.loggers.TensorBoardLogger", save_dir=root, name="log", version=""),
            "callbacks": [
                part("vlcal.callbacks.CertaintyMonitor"),
                part("vlcal.callbacks.CollapseWatch", patience=2),
                part(f"{HERE}.Journal", file=f"{root}/journal.jsonl"),
                part(
                    "lightning.pytorch.callbacks.ModelCheckpoint",
                    dirpath=root,
                    filename="last",
                    every_n_train_steps=2,
                    enable_version_counter=False,
                ),
            ],
        },
        "model": part(
            "vlcal.modules.ReinforcementModule",
            policy=part(
                "vlcal.policy.PolicySpec",
                path=str(policy),
                dtype="float32",
                adaptation=part("vlcal.policy.LoRA", rank=2, dropout=0.2),
            ),
            pipeline=part(
                "vlcal.training.Pipeline",
                reader=part("vlcal.training.ResponseReader", grammar={"instructions": ""}),
                rewards={"every_second": part(f"{HERE}.EverySecond", weight=1.0)},
                certainty=part(
                    "vlcal.certainty.KLEntropyCertainty", labeler=part("vlcal.certainty.WindowLabeler", size=16)
                ),
            ),
            sampling=part("vlcal.training.Sampling", group_size=2, training=engine, validation=engine),
            update=part("vlcal.training.Update", minibatch_prompts=1),
            optimization=part("vlcal.training.Optimization", lr=1e-2, warmup=0.3, final=0.1),
        ),
        "data": part("vlcal.data.VisionQuestions", train=source, validation=source, batch_size=BATCH, **data),
    }


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    rows = []
    for row in range(ROWS):
        image = Image.new("RGB", (32, 32), (30 * row, 90, 200 - 20 * row))
        image.putpixel((3, 3), (255, 255, 255))  # an image of one colour has no visual evidence
        image.save(folder / f"{row}.png")
        rows.append({"question": "What is the first", "answer": "1", "images": [f"{row}.png"]})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


@pytest.fixture(scope="module")
def fit() -> Iterator[Run]:
    """Runs `vlcal fit` in a process of its own; the status it ends with."""
    command = [sys.executable, "-W", "ignore", "-m", HERE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "VLCAL_PARTS": "tests"}, **pipes
    ) as server:

        def run(described: dict[str, Any], *args: str) -> int:
            folder = Path(described["trainer"]["default_root_dir"])
            folder.mkdir(exist_ok=True)
            (folder / "given.yaml").write_text(yaml.safe_dump(described))
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write(json.dumps(["fit", "--config", str(folder / "given.yaml"), *args]) + "\n")
            server.stdin.flush()
            return int(next(line for line in server.stdout if line.startswith("status ")).split()[1])

        yield run


def journal(folder: Path) -> dict[int, list[str]]:
    """The prompts of each step, as the last process that took it met them."""
    lines = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return {line["step"]: line["ids"] for line in lines}


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run, by name."""
    log = EventAccumulator(str(folder / "log"), size_guidance={"scalars": 0})
    log.Reload()
    return {name: [(event.step, event.value) for event in log.Scalars(name)] for name in log.Tags()["scalars"]}


def end(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return found


@pytest.fixture(scope="module")
def straight(fit: Run, embedded: Path, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a break."""
    folder = tmp_path_factory.mktemp("straight")
    assert fit(config(embedded, folder, questions)) == 0
    return folder


def test_a_run_without_a_break_meets_every_prompt_once_an_epoch_in_another_order(straight: Path) -> None:
    steps = journal(straight)
    first, second = ([name for step in range(*epoch) for name in steps[step]] for epoch in ((0, 4), (4, 8)))

    assert sorted(steps) == list(range(STEPS)) and end(straight)["global_step"] == STEPS
    assert len(set(first)) == len(first) == len(set(second)) == ROWS and first != second


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("update 3", -9),  # between two updates of a step in the middle of an epoch
        ("rename 3", -9),  # when a checkpoint is written, but not yet in its place
        ("rollout 5", -9),  # behind a checkpoint that was saved at the end of an epoch
        ("update 7", -9),  # in the middle of the second epoch, with a process that has read ahead
        ("sigterm rollout 0", 143),
        ("sigterm validation 2", 143),
    ],
)
def test_an_interrupted_run_ends_as_one_without_a_break(
    fit: Run, embedded: Path, questions: Path, straight: Path, tmp_path: Path, where: str, status: int
) -> None:
    described = config(embedded, tmp_path, questions, workers=int(where == "update 7"))

    assert fit(described, *ending(described, where)) == status
    if status > 0:
        assert end(tmp_path)["global_step"] == int(where[-1]) + 1  # which no callback of the recipe saves
    assert fit(described, "--ckpt_path", "last") == 0

    found, expected = (numbers({key: end(folder)[key] for key in KEPT}) for folder in (tmp_path, straight))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert journal(tmp_path) == journal(straight)
    torch.testing.assert_close(logged(tmp_path), logged(straight), rtol=0, atol=0, equal_nan=True)


def ending(described: dict[str, Any], where: str) -> list[str]:
    """Arguments that have the journal end the process there."""
    (notes,) = (each for each in described["trainer"]["callbacks"] if each["class_path"].endswith("Journal"))
    others = [each for each in described["trainer"]["callbacks"] if each is not notes]
    ended = {**notes, "init_args": {**notes["init_args"], "end": where}}
    return ["--trainer.callbacks", json.dumps([*others, ended])]


def numbers(value: Any) -> Any:
    """The numbers of a checkpoint: folders and times differ from run to run."""
    if isinstance(value, dict):
        kept = {str(key): numbers(item) for key, item in value.items() if not str(key).startswith("ModelCheckpoint")}
        return {key: item for key, item in kept.items() if not isinstance(item, str | None)}
    return [numbers(item) for item in value] if isinstance(value, list | tuple) else value
