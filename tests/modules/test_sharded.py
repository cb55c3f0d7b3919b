"""Two ranks on the CPU that share the weights, beside one process with the whole step and all weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from transformers import AutoModelForImageTextToText

from vlcal.callbacks import ReadoutWriter
from vlcal.modules import ReinforcementModule, ShardedStrategy
from vlcal.policy import PolicySpec
from vlcal.probes import StatedLevel
from vlcal.training import Pipeline, ResponseReader

ROOT = Path(__file__).parents[2]
Noted = dict[str, Any]


def started(checkpoint: Path, folder: Path, ranks: int, kind: str) -> subprocess.CompletedProcess[str]:
    """The ranks of a run, once they have ended."""
    folder.mkdir(parents=True)
    script = ROOT / "tests" / "modules" / "sharded_ranks.py"
    return subprocess.run(
        [sys.executable, "-W", "ignore", script, str(checkpoint), str(folder), str(ranks), kind],
        check=False,
        capture_output=True,
        text=True,
        timeout=1800,  # a busy machine takes minutes to import torch
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module", params=["lora", "full"])
def runs(request: pytest.FixtureRequest, embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process and both of two ranks wrote down, and their folders."""
    folder, kind = tmp_path_factory.mktemp("sharded"), request.param
    for ranks in (1, 2):
        ended = started(embedded, folder / str(ranks), ranks, kind)
        assert ended.returncode == 0, ended.stderr[-3000:]
    (alone,), both = ([torch.load(folder / str(n) / f"rank{rank}.pt") for rank in range(n)] for n in (1, 2))
    return {"alone": alone, "both": both, "folder": folder, "kind": kind}


def test_each_rank_holds_half_of_the_blocks(runs: dict[str, Any]) -> None:
    for noted in runs["both"]:
        assert 2 * noted["held"] == noted["parts"] > 1_000_000


def test_ranks_pass_together_however_many_passes_each_needs(runs: dict[str, Any]) -> None:
    first, second = runs["both"]

    assert first["prompts"][0] == ("spoken 0",) and second["prompts"][0] == ("silent 1", "silent 1 again")
    assert first["passes"] == second["passes"]


@pytest.mark.parametrize("step", [0, 1], ids=["uneven, a rank without a valid response", "even"])
def test_gradients_of_ranks_that_share_weights_are_those_of_one_process(runs: dict[str, Any], step: int) -> None:
    sought = runs["alone"]["gradients"][step]
    norm = torch.cat([value.flatten() for value in sought.values()]).norm()

    assert norm > 1e-3
    for noted in runs["both"]:
        found = noted["gradients"][step]
        assert torch.cat([(found[name] - value).flatten() for name, value in sought.items()]).norm() < 1e-6 * norm
        assert noted["figures"][step] == pytest.approx(runs["alone"]["figures"][step], rel=1e-4, abs=1e-6, nan_ok=True)


def test_rollouts_over_shared_weights_are_those_of_one_process(runs: dict[str, Any]) -> None:
    first, second = runs["both"]

    assert first["texts"] | second["texts"] == runs["alone"]["texts"]
    for noted in runs["both"]:
        assert noted["before"] == pytest.approx(runs["alone"]["before"], rel=1e-6, nan_ok=True)


def test_a_checkpoint_holds_whole_weights_and_resumes(runs: dict[str, Any]) -> None:
    first, second = runs["both"]
    (written,) = (runs["folder"] / "2" / "kept").glob("*step=2.ckpt")
    saved = torch.load(written, weights_only=True)["state_dict"]

    assert saved.keys() == first["weights"].keys()
    for name, weight in first["weights"].items():
        assert torch.equal(saved[name], weight) and torch.equal(second["weights"][name], weight)
        torch.testing.assert_close(first["again"][name], weight, rtol=0, atol=1e-6)


def test_the_model_of_weights_in_parts_is_exported_whole(runs: dict[str, Any]) -> None:
    if runs["kind"] == "lora":
        assert (runs["folder"] / "2" / "export" / "adapter_model.safetensors").is_file()
        return
    exported = AutoModelForImageTextToText.from_pretrained(runs["folder"] / "2" / "export", dtype=torch.float32)
    learned = runs["both"][0]["weights"]
    named = {f"_policy.adapted.{name}": weight for name, weight in exported.named_parameters()}

    assert all(torch.equal(named[name], weight) for name, weight in learned.items())


def test_weights_in_4_bits_are_refused_in_one_line(embedded: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")

    ended = started(embedded, tmp_path / "refused", 2, "qlora")

    assert ended.returncode != 0
    said = json.loads((tmp_path / "refused" / "refusal.json").read_text())
    assert said.startswith("`policy.adaptation` must be LoRA or LanguageModel where ranks share the weights")
    assert "\n" not in said


def test_probes_are_refused_where_ranks_share_the_weights(tmp_path: Path) -> None:
    writer = ReadoutWriter(tmp_path / "readouts.jsonl", {"stated": StatedLevel()})
    trainer = lightning.Trainer(accelerator="cpu", devices=1, strategy=ShardedStrategy(), logger=False)

    with pytest.raises(ValueError, match="`ReadoutWriter` must be taken out of `trainer.callbacks`"):
        writer.setup(trainer, ReinforcementModule(PolicySpec("none"), Pipeline(ResponseReader(), {})), "validate")
