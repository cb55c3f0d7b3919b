"""`vlcal doctor`: what it says of a run, and that what it advises helps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn
from transformers import AutoProcessor, ProcessorMixin

from tests.configs.conftest import CONFIGS
from tests.configs.questions import png, write_questions
from vlcal.cli import main
from vlcal.commands.checkup import sampled_here
from vlcal.commands.trainer import Cli
from vlcal.errors import UserError
from vlcal.policy.memory.footprint import ROOMY

Doctor = Callable[..., tuple[int, str]]
Change = Callable[[ProcessorMixin], None]
Altered = Callable[[Change], Path]
CONFIG = CONFIGS / "qwen3vl" / "2b_8gb.yaml"
PATH = "--model.init_args.policy.init_args.path"
TRAIN = "--data.init_args.train.init_args.path"
BUDGET = "--model.init_args.update.init_args.token_budget"
LARGEST = "--data.init_args.image_size.init_args.max_pixels"


@pytest.fixture
def doctor(small: Callable[[Path], list[str]], capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs the command on a shrunken model; its status and what it printed."""

    def run(*more: str, memory: str | None = "8") -> tuple[int, str]:
        asked = ["--memory", memory] if memory else []
        status, message = 0, ""
        try:
            main(["doctor", *small(CONFIG), *asked, *more])
        except SystemExit as end:
            status, message = (end.code, "") if isinstance(end.code, int) else (1, str(end.code))
        return status, capsys.readouterr().out + message

    return run


@pytest.fixture
def altered(checkpoint: Callable[[Path], Path], tmp_path: Path) -> Altered:
    """The shrunken model without weights, with another processor."""

    def write(change: Change) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(checkpoint(CONFIG), folder, ignore=shutil.ignore_patterns("*.safetensors"))
        processor = AutoProcessor.from_pretrained(folder)
        change(processor)
        processor.save_pretrained(folder)
        return folder

    return write


def test_a_run_that_fits_is_told_by_part_and_ends_well(doctor: Doctor) -> None:
    status, said = doctor()

    assert status == 0
    assert "6 prompts can be read, 0 batches cannot" in said  # of training and validation
    assert "chat        prompts end where the response begins" in said
    assert "nothing was found that must be changed" in said and "there is no GPU here" in said
    for part in ("language model", "weights that learn", "optimizer", "rollouts", "update", "at the peak"):
        assert part in said


def test_a_card_that_is_too_small_is_refused_with_the_phase_and_a_way_out(doctor: Doctor) -> None:
    status, said = doctor(memory="0.5")

    assert status == 1
    assert re.search(r"change +memory: [\d.]+ GiB of 0.5 in the phase of \w+", said)


def test_the_advised_chunk_of_a_step_that_is_too_large_makes_it_fit_and_one_more_does_not(
    doctor: Doctor, tmp_path: Path
) -> None:
    eight = write_questions(tmp_path / "eight.parquet", [[png(64, 48)]] * 8)
    sampling = "--model.init_args.sampling.init_args"
    long = [TRAIN, str(eight), "--data.init_args.batch_size", "8", f"{sampling}.group_size", "32"]
    long += [f"{sampling}.training.init_args.max_new_tokens", "400"]
    peaks = {}
    for chunk in (1, 8):
        _, said = doctor(*long, f"{sampling}.chunk_prompts", str(chunk), memory="64")
        peaks[chunk] = float(re.search(r"at the peak +([\d.]+)", said)[1])  # type: ignore[index]
    card = str((peaks[1] + peaks[8]) / 2 / ROOMY)

    status, said = doctor(*long, f"{sampling}.chunk_prompts", "8", memory=card)
    advised = re.search(r"fewer prompts at once, `([\w.]+): (\d+)`", said)

    assert status == 1 and advised and 1 <= int(advised[2]) < 8
    assert f"8 of 8 prompts a step; most that fit: `{advised[1]}: {advised[2]}`" in said
    statuses = [doctor(*long, f"--{advised[1]}", str(int(advised[2]) + more), memory=card)[0] for more in (0, 1)]
    assert statuses == [0, 1]


def test_a_prompt_without_room_is_named_and_the_advised_size_makes_it_fit(doctor: Doctor, tmp_path: Path) -> None:
    large = write_questions(tmp_path / "large.parquet", [[png(64, 48)], [png(1400, 1000)]])
    given = (TRAIN, str(large), BUDGET, "584")

    status, said = doctor(*given)
    advised = re.search(r"`image_size` with max_pixels (\d+) would make it fit", said)

    assert status == 1 and advised
    assert re.findall(r"change +prompt (\S+):", said) == ["large.parquet:2"]
    assert doctor(*given, LARGEST, advised[1])[0] == 0


def test_a_prompt_that_the_model_has_no_positions_for_gets_advice_that_helps(doctor: Doctor) -> None:
    status, said = doctor(
        BUDGET, "100000000", "--model.init_args.sampling.init_args.training.init_args.max_new_tokens", "9999999"
    )

    assert status == 1
    assert re.search(
        r"0 fit beside the 9999999 of `max_new_tokens` into the \d+ that the model reads; .*: lower `max", said
    )
    assert "raise `token_budget`" not in said
    assert "form        not tried: first what must be changed" in said


def test_a_row_that_cannot_be_read_is_named(doctor: Doctor, tmp_path: Path) -> None:
    broken = write_questions(tmp_path / "broken.parquet", [[png(64, 48)], [b"no picture"]])

    status, said = doctor(TRAIN, str(broken))

    assert status == 1
    assert "broken.parquet, row 2" in said


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_image_that_is_cut_short_is_one_line_whoever_decodes_it(
    doctor: Doctor, tmp_path: Path, workers: str
) -> None:
    cut = write_questions(tmp_path / "cut.parquet", [[png(64, 48)], [png(64, 48)], [png(64, 48)[:80]]])

    status, said = doctor(TRAIN, str(cut), "--data.init_args.workers", workers)

    assert status == 1
    (change,) = [line for line in said.splitlines() if line.startswith("change")]
    assert "cut.parquet, row 3: image of 80 bytes cannot be read" in change
    assert "Traceback" not in said and said.endswith(f"{change}\n")


def test_without_a_gpu_the_card_must_be_named(doctor: Doctor) -> None:
    status, said = doctor(memory=None)

    assert status != 0 and "--memory" in said


def test_a_module_that_does_not_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a ReinforcementModule .*; got Linear"):
        sampled_here(nn.Linear(1, 1))


def test_what_prompts_open_of_a_response_is_said(doctor: Doctor, altered: Altered) -> None:
    assert "chat        prompts open a response by '<think>\\n'" in doctor(PATH, str(altered(thinking)))[1]


def test_levels_that_fit_refuses_are_refused_in_the_same_words(
    doctor: Doctor, small: Callable[[Path], list[str]]
) -> None:
    levels = ("--model.init_args.pipeline.init_args.reader.init_args.grammar.levels", str(list(range(11))))
    with pytest.raises(UserError) as refusal:
        Cli([*small(CONFIG), *levels], run=False).model.configure_model()

    status, said = doctor(*levels)

    assert status == 1
    assert "splits [10]" in str(refusal.value)
    assert f"change      {refusal.value}" in said


def thinking(processor: ProcessorMixin) -> None:
    prompt = "assistant\n{% endif %}"
    processor.chat_template = processor.chat_template.replace(prompt, prompt.replace("{%", "<think>\n{%"))


def longer(processor: ProcessorMixin) -> None:
    processor.tokenizer.add_tokens(["<extra>"])


def padless(processor: ProcessorMixin) -> None:
    processor.tokenizer.pad_token = None


def of_texts(processor: ProcessorMixin) -> None:
    processor.chat_template = "{% for message in messages %}{{ message.role + message.content }}{% endfor %}"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (longer, "its tokenizer goes up to token .*, '<extra>'. Use the tokenizer that"),
        (padless, "whose tokenizer has a padding token.* Set `pad_token`"),
        (of_texts, "a chat template for questions about images; that of this one refuses .*"),
    ],
)
def test_a_processor_that_does_not_fit_is_found_without_weights_in_one_line(
    doctor: Doctor, altered: Altered, change: Change, line: str
) -> None:
    status, said = doctor(PATH, str(altered(change)))

    assert status == 1
    assert len([found for found in said.splitlines() if re.search(line, found)]) == 1
    assert "Traceback" not in said


def test_a_validation_that_no_epoch_reaches_is_noted(doctor: Doctor) -> None:
    status, said = doctor("--trainer.val_check_interval", "250")

    assert status == 0
    assert (
        "note        `trainer.val_check_interval` is 250 batches, and an epoch has 2: validation takes place at" in said
    )
