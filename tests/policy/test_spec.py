"""Checkpoints: written, read, missing, broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlcal.policy import Continuations, Frozen, LoRA, Policy, PolicySpec, QLoRA, WholeModel
from vlcal.text import Grammar
from vlcal.types import PromptBatch


@pytest.fixture
def spoiled(embedded: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to break."""
    return Path(shutil.copytree(embedded, tmp_path / "spoiled"))


@pytest.mark.parametrize("adaptation", [WholeModel(), LoRA(2)])
def test_a_saved_policy_is_the_same_when_it_is_loaded_again(
    build: Callable[..., Policy],
    mixed: PromptBatch,
    completions: tuple[Tensor, Tensor],
    grammar: Grammar,
    tmp_path: Path,
    adaptation: WholeModel | LoRA,
) -> None:
    tokens, mask = completions
    policy = build(adaptation)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.randn_like(weight) * 0.01 * weight.requires_grad)
        expected, _ = policy.score(Continuations.of(policy.encode(mixed, grammar), tokens, mask))
        policy.save(tmp_path / "saved")

        again = PolicySpec(str(tmp_path / "saved"), Frozen(), dtype="float32").build()

        found, _ = again.score(Continuations.of(again.encode(mixed, grammar), tokens, mask))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_nothing_is_read_before_a_policy_is_built() -> None:
    assert PolicySpec("/nowhere/at/all").path == "/nowhere/at/all"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")

    with pytest.raises(ValueError, match=f"`path` must be a vision-language checkpoint .*'{missing}' is not"):
        PolicySpec(missing).build()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 64),
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"{}"),
    ],
)
def test_a_broken_file_ends_in_one_error_that_names_the_folder(spoiled: Path, file: str, content: bytes) -> None:
    (spoiled / file).write_bytes(content)

    with pytest.raises(ValueError, match=f"`path` must be .*'{spoiled}' is not"):
        PolicySpec(str(spoiled), dtype="float32").build()


def test_weights_that_break_off_end_in_one_error_that_names_the_folder(spoiled: Path) -> None:
    weights = spoiled / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])

    with pytest.raises(ValueError, match=f"`path` must be .*'{spoiled}' is not"):
        PolicySpec(str(spoiled), dtype="float32").build()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "processor_config.json"])
def test_a_missing_file_ends_in_one_error_that_names_the_folder(spoiled: Path, file: str) -> None:
    (spoiled / file).unlink()

    with pytest.raises(ValueError, match=f"`path` must be .*'{spoiled}' is not"):
        PolicySpec(str(spoiled), dtype="float32").build()


@pytest.mark.parametrize("file", ["config.json", "processor_config.json"])
@pytest.mark.parametrize("adaptation", [Frozen(), QLoRA(2)])
def test_code_in_a_checkpoint_is_never_run_and_never_asked_about(
    spoiled: Path, file: str, adaptation: Frozen | QLoRA, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = {"AutoConfig": "own.Config", "AutoModelForImageTextToText": "own.Model", "AutoProcessor": "own.Processor"}
    settings = {"model_type": "of_its_own", "processor_class": "OwnProcessor", "auto_map": auto}
    (spoiled / file).write_text(json.dumps({**json.loads((spoiled / file).read_text()), **settings}))
    (spoiled / "own.py").write_text("raise SystemExit('run')")
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked at the keyboard"))

    with pytest.raises(ValueError, match=f"^`path` must be .*'{spoiled}' is not: .*custom code.*hub and whether.*$"):
        PolicySpec(str(spoiled), adaptation, dtype="float32").build()


def test_a_name_that_is_no_torch_type_is_refused() -> None:
    with pytest.raises(ValueError, match="`dtype` must name a torch type .* got 'half-precision'"):
        PolicySpec("anywhere", dtype="half-precision")
