"""What only a GPU can show, measured by one command and written into benchmarks/RESULTS.md.

    make gpu                                                   # pytest -m cuda, then this
    python benchmarks/gpu.py --device cpu --sizes tiny --results runs/RESULTS.md   # every step of it, without a GPU

Each measurement writes a line of the section "On a card": its parts in seconds, tokens per second, the memory at the
peak beside what the doctor plans. One that fails writes its error there, and the others run all the same.
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from clock import PeakMemory
from machine import machine
from subject import Subject
from vlcal_step import Setting, VlcalStep

from vlcal.commands.checkup import optimizer_bytes, workload
from vlcal.demo import BASE
from vlcal.files import write_whole
from vlcal.policy.memory.footprint import footprint
from vlcal.policy.memory.lengths import PromptLength
from vlcal.policy.memory.skeleton import Skeleton

TITLE, LAST = "## On a card", "## Not measured"
FAILED = "failed"
REPOSITORY = Path(__file__).parents[1]
GIB = 2**30


@dataclass(frozen=True)
class Sizes:
    """How large each measurement is.

    Args:
        short: Prompts of one image of 1,024 tokens, in the shape of Qwen3-VL-4B.
        long: Longer prompts, in the shape of Qwen3-VL-8B.
        beside: What runs through TRL too.
        demo_steps: Updates of the demonstration.
        demo_options: Settings of its run.
    """

    short: Subject
    long: Subject
    beside: Subject
    demo_steps: int
    demo_options: tuple[str, ...] = ()


TINY = Subject(prompts=1, group=2, completion=4, image=4, layers=2, width=64)
SIZES = {
    "card": Sizes(
        Subject(prompts=1, group=8, completion=512, image=32, layers=36, width=2560, head=128, vocabulary=32768),
        Subject(prompts=1, group=8, completion=512, image=60, layers=36, width=4096, head=128, vocabulary=32768),
        Subject(prompts=1, group=8, completion=96, image=32, layers=28, width=2048, head=128, vocabulary=32768),
        demo_steps=60,
    ),
    "tiny": Sizes(TINY, TINY, TINY, demo_steps=1, demo_options=("--data.batch_size", "2")),
}


@dataclass(frozen=True)
class Place:
    """Where everything is measured.

    Args:
        device: Such as cuda or cpu.
        dtype: Of the weights.
        folder: For checkpoints and runs.
    """

    device: str
    dtype: str
    folder: Path


def qlora_step(place: Place, subject: Subject) -> str:
    """A step with adapters over 4-bit weights, the second of two; its peak beside the plan of the doctor."""
    where = subject.write(place.folder / f"subject-{subject.width}")
    side = VlcalStep(where, subject, Setting("qlora", place.device, place.dtype))
    side.step()
    gc.collect()
    memory = PeakMemory(place.device)
    parts = side.step()
    seconds, written = sum(parts.values()), subject.prompts * subject.group * subject.completion
    peak = memory.growth() + memory.before
    shown = ", ".join(f"{name} {value:.2f}" for name, value in sorted(parts.items()))
    return (
        f"{seconds:.2f} s ({shown}); {written / seconds:.0f} tokens/s; L {side.prompt_tokens}; "
        f"peak {peak / GIB:.2f} GiB, planned {planned(side) / GIB:.2f} GiB"
    )


def planned(side: VlcalStep) -> int:
    """Bytes that `vlcal doctor` plans for the step."""
    module, image_tokens = side.module, side.subject.image**2
    skeleton = Skeleton(module.spec)
    pixels = image_tokens * 4 * skeleton.patch_values()
    work = workload(module, [PromptLength("", side.prompt_tokens, image_tokens, pixels)], side.subject.prompts, 1)
    card = torch.cuda.mem_get_info()[1] if side.setting.device.startswith("cuda") else 24 * GIB
    return footprint(skeleton, work, optimizer_bytes(module.optimization, skeleton.learning), card).peak


def beside_trl(place: Place, subject: Subject) -> str:
    """A step through TRL and through vlcal, in a process of its own."""
    ratios = _script("step_vs_trl", place, subject)
    names = ("learner_ratio", "step_ratio", "memory_ratio", "gradient_relative_difference")
    return ", ".join(f"{name.replace('_', ' ')} {ratios[name]:.3g}" for name in names)


def beside_generate(place: Place, subject: Subject) -> str:
    """Sampling beside `generate` of transformers, in a process of its own."""
    rows = _script("sampling", place, subject)["rows"]
    return ", ".join(
        f"{row['what']} {row['transformers']:.2f} s, {row['vlcal']:.2f} s: {row['ratio']:.2f}" for row in rows
    )


def _script(name: str, place: Place, subject: Subject) -> dict[str, Any]:
    """What another benchmark writes of the subject."""
    found = place.folder / f"{name}.json"
    sizes = [part for size, value in vars(subject).items() for part in (f"--{size}", str(value))]
    options = ["--device", place.device, "--dtype", place.dtype, "--repeats", "2", "--output", str(found)]
    _run([sys.executable, str(Path(__file__).parent / f"{name}.py"), *sizes, *options])
    result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return result


def demonstration(place: Place, sizes: Sizes) -> str:
    """The reinforcement of the demonstration."""
    accelerator = "gpu" if place.device.startswith("cuda") else "cpu"
    started = time.perf_counter()
    _run(
        [
            *(sys.executable, "-m", "vlcal", "fit", "--config", str(REPOSITORY / "configs/digits/best.yaml")),
            *("--trainer.accelerator", accelerator, "--trainer.default_root_dir", str(place.folder)),
            *("--trainer.limit_val_batches", "0", "--data.steps", str(sizes.demo_steps)),
            *("--model.init_args.policy.init_args.path", str(BASE), *sizes.demo_options),
        ]
    )
    return f"{sizes.demo_steps} updates in {time.perf_counter() - started:.0f} s"


def measurements(sizes: Sizes) -> dict[str, Callable[[Place], str]]:
    """Every measurement by its name."""
    return {
        "NF4 QLoRA step, shape of Qwen3-VL-4B": lambda place: qlora_step(place, sizes.short),
        "NF4 QLoRA step, shape of Qwen3-VL-8B, long prompts": lambda place: qlora_step(place, sizes.long),
        "LoRA step beside TRL": lambda place: beside_trl(place, sizes.beside),
        "sampling beside generate": lambda place: beside_generate(place, sizes.beside),
        "the demonstration": lambda place: demonstration(place, sizes),
    }


def measured(place: Place, asked: dict[str, Callable[[Place], str]]) -> dict[str, str]:
    """What each measurement found, or how it failed."""
    found = {}
    for name, measure in asked.items():
        try:
            found[name] = measure(place)
        except Exception as error:  # noqa: BLE001 - written down as the result; the others still run
            found[name] = f"{FAILED}: {type(error).__name__}: {error}".replace("\n", " ")[:300]
        gc.collect()
    return found


def with_section(results: str, body: str) -> str:
    """The results with `body` as the section of the card, in place of an earlier one, else ahead of the last."""
    kept = re.sub(rf"^{TITLE}\n.*?(?=^## |\Z)", "", results, flags=re.MULTILINE | re.DOTALL)
    before, last, after = kept.partition(LAST)
    return f"{before}{TITLE}\n{body}\n\n{last}{after}"


def section(found: dict[str, str], place: Place) -> str:
    """What was found, as the body of the section."""
    ran = machine(place.device)
    versions = ", ".join(f"{name} {number}" for name, number in ran["versions"].items() if number)  # type: ignore[attr-defined]
    rows = [f"| {name} | {figures} |" for name, figures in found.items()]
    start = f"{ran['date']}, {ran['device']}, {place.dtype}; {versions}.\n\n    make gpu\n\n| what | found |\n|---|---|"
    return "\n".join([start, *rows])


def main() -> None:
    """Measure everything and write it down."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--dtype", default="bfloat16", help="of the weights")
    parser.add_argument("--sizes", choices=SIZES, default="card", help="tiny shows that every step runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "RESULTS.md", help="file to write into")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("`--device` cuda needs a GPU, and torch sees none here; `--device cpu --sizes tiny` tries it.")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(given.device, given.dtype, Path(folder))
        found = measured(place, measurements(SIZES[given.sizes]))
    written = with_section(given.results.read_text(encoding="utf-8"), section(found, place))
    write_whole(given.results, written)
    sys.exit(any(figures.startswith(FAILED) for figures in found.values()))


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit code {ran.returncode}")


if __name__ == "__main__":
    main()
