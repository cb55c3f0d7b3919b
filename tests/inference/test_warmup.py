"""A model that does not keep to the form: found by `doctor`, taught on one's own rows, and found to keep to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import vlcal
from vlcal.cli import main

BASE = Path(vlcal.__file__).with_name("base")
LEVELS = "[8, 9]"  # of the 0 to 10 that the base was taught to state: nearly every response of it has another one
READER = "--model.init_args.pipeline.init_args.reader.init_args.grammar"
SAMPLING = "--model.init_args.sampling.init_args"
SMALL = [
    *("--trainer.accelerator", "cpu", "--model.init_args.policy.init_args.dtype", "float32"),
    *("--data.init_args.workers", "0"),
]
DOCTOR = [
    *(*SMALL, "--memory", "8", "--sample", "8", f"{READER}.levels", LEVELS, f"{READER}.instructions", ""),
    *(f"{SAMPLING}.training.init_args.max_new_tokens", "72"),
]
WARMUP = [
    *(*SMALL, "--model.init_args.grammar.levels", LEVELS, "--model.init_args.grammar.instructions", ""),
    *("--trainer.max_epochs", "5", "--trainer.limit_val_batches", "0"),
    *("--model.init_args.optimization.init_args.lr", "3.0e-3", "--trainer.enable_model_summary", "false"),
]


def kept(said: str) -> int:
    """Of eight responses, how many keep to the form."""
    found = re.search(r"^form +(\d) of 8 responses keep to the form", said, re.MULTILINE)
    assert found is not None, said
    return int(found[1])


def test_a_model_that_never_keeps_to_the_form_is_refused_and_keeps_to_it_after_the_warm_up_it_is_advised(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["init", str(own_data), "--model", str(BASE), "--output", "cold.yaml"])
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--config", "cold.yaml", *DOCTOR])
    said = capsys.readouterr().out

    assert end.value.code == 1 and kept(said) == 0
    assert "change      form: none of 8 responses keeps to the form" in said and "--recipe warmup" in said

    main(["init", str(own_data), "--model", str(BASE), "--output", "warmup.yaml", "--recipe", "warmup"])
    adapter = Path("runs/warmup/adapter")
    assert f"--model {BASE} --output NEW.yaml --adapter {adapter}\n" in capsys.readouterr().out
    main(["fit", "--config", "warmup.yaml", *WARMUP])
    main(["init", str(own_data), "--model", str(BASE), "--output", "warm.yaml", "--adapter", str(adapter)])
    main(["doctor", "--config", "warm.yaml", *DOCTOR])

    assert kept(capsys.readouterr().out) >= 4  # after 25 steps
    policy = yaml.safe_load(Path("warm.yaml").read_text(encoding="utf-8"))["model"]["init_args"]["policy"]["init_args"]
    assert policy == {"path": str(BASE), "adaptation": {"init_args": {"adapter": str(adapter)}}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "warm-up"], "`recipe` must be one of consumer, warmup; got 'warm-up'"),
        (["--adapter", "nowhere"], "`adapter` must be the folder of an adapter; nowhere has no adapter_config.json"),
    ],
)
def test_init_refuses_a_start_that_is_not_there(own_data: Path, words: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["init", str(own_data), *words])
