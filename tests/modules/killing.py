"""A small training run that is described, started, killed, and compared with one without a break."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[2]
HERE = "tests.modules.killed_runs"
ROWS, BATCH, EPOCHS = 8, 2, 2
KEPT = ("state_dict", "optimizer_states", "pipeline", "callbacks", "epoch", "global_step")
STEPS = EPOCHS * -(-ROWS // BATCH)


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


def write_questions(folder: Path) -> Path:
    """A table of questions with an image each."""
    rows = []
    for row in range(ROWS):
        image = Image.new("RGB", (32, 32), (30 * row, 90, 200 - 20 * row))
        image.putpixel((3, 3), (255, 255, 255))  # an image of one colour has no visual evidence
        image.save(folder / f"{row}.png")
        rows.append({"question": "What is the first", "answer": "1", "images": [f"{row}.png"]})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


class Runs:
    """Runs `vlcal fit`, each in a process that is forked from one which has everything imported."""

    def __enter__(self) -> Runs:
        command = [sys.executable, "-W", "ignore", "-m", HERE]
        settings = {**os.environ, "PYTHONPATH": str(ROOT), "VLCAL_PARTS": "tests"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(self, described: dict[str, Any], *args: str, kill_after: float | None = None, ranks: int = 1) -> int:
        """The status a run ends with.

        Args:
            described: Its config.
            args: Of the command, besides.
            kill_after: Seconds from its first step on, after which it is killed.
            ranks: Its processes, one or two.
        """
        folder = Path(described["trainer"]["default_root_dir"])
        folder.mkdir(exist_ok=True)
        (folder / "given.yaml").write_text(yaml.safe_dump(described))
        asked: dict[str, Any] = {"args": ["fit", "--config", str(folder / "given.yaml"), *args]}
        if ranks > 1:
            asked["args"] += ["--trainer.devices", str(ranks), "--trainer.strategy", "ddp"]
            asked["ranks"] = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(ranks)}
        if kill_after is not None:
            asked |= {"kill_after": kill_after, "watched": str(folder / "journal.jsonl")}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(next(line for line in self._process.stdout if line.startswith("status ")).split()[1])


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def journal(folder: Path) -> dict[tuple[int, int], list[str]]:
    """The prompts of each step and rank, as the last process that took the step met them."""
    lines = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return {(line["step"], line["rank"]): line["ids"] for line in lines}


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run, by name."""
    log = EventAccumulator(str(folder / "log"), size_guidance={"scalars": 0})
    log.Reload()
    return {name: [(event.step, event.value) for event in log.Scalars(name)] for name in log.Tags()["scalars"]}


def end(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return found


def numbers(value: Any) -> Any:
    """The numbers of a checkpoint: folders and times differ from run to run."""
    if isinstance(value, dict):
        kept = {str(key): numbers(item) for key, item in value.items() if not str(key).startswith("ModelCheckpoint")}
        return {key: item for key, item in kept.items() if not isinstance(item, str | None)}
    return [numbers(item) for item in value] if isinstance(value, list | tuple) else value


def differences(folder: Path, straight: Path) -> list[str]:
    """What differs between a run and one without a break: names of parts of the last checkpoint, prompts, figures."""
    found, sought = (
        {**{key: numbers(end(of)[key]) for key in KEPT}, "figures": logged(of)} for of in (folder, straight)
    )
    prompts = [] if journal(folder) == journal(straight) else ["prompts"]
    return prompts + [name for name, value in sought.items() if not same(found[name], value)]


def same(found: Any, sought: Any) -> bool:
    """Whether two nests of numbers are equal bit for bit."""
    try:
        torch.testing.assert_close(found, sought, rtol=0, atol=0, equal_nan=True)
    except AssertionError:
        return False
    return True
