"""docs/examples: every file of a reader's own runs on the embedded model, outside the package."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from vlcal.certainty import KLCertainty
from vlcal.cli import main
from vlcal.data import RefuseBadRows
from vlcal.data.inspection import inspect_table
from vlcal.errors import UserError
from vlcal.rewards import Attempts
from vlcal.types import Certainty, Evidence, PromptBatch, Responses, Rollouts, Spans

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SAMPLING = "--model.init_args.sampling.init_args"
SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false"),
    *("--data.init_args.batch_size", "3", "--data.init_args.workers", "0"),
    *(f"{SAMPLING}.group_size", "3", f"{SAMPLING}.training.init_args.max_new_tokens", "4"),
    *("--model.init_args.policy.init_args.dtype", "float32"),
    *("--model.init_args.policy.init_args.adaptation", "vlcal.policy.LoRA"),
]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Imports a file of a copy of the folder, which is the working directory."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for path in tmp_path.glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return import_module


def step(texts: tuple[str, ...], prompts: PromptBatch, visual_kl: torch.Tensor | None = None) -> dict[str, Any]:
    """Records of a step with these texts, one to a prompt, of three tokens each, the first two of them vision."""
    number = len(texts)
    tokens, nothing = torch.ones(number, 3, dtype=torch.long), torch.zeros(number, 3, dtype=torch.bool)
    vision = nothing.clone()
    vision[:, :2] = True
    kl = torch.zeros(number, 3) if visual_kl is None else visual_kl
    unknown = torch.full((number,), math.nan)
    spans = Spans(vision, nothing, nothing, nothing, nothing)
    return {
        "prompts": prompts,
        "rollouts": Rollouts(tokens, ~nothing, torch.zeros(number, 3), texts, nothing[:, 0], 1),
        "responses": Responses((None,) * number, nothing[:, 0], torch.zeros(number), *(unknown,) * 5, spans=spans),
        "evidence": Evidence(torch.zeros(number, 3), torch.ones(number, 3), kl),
        "certainty": Certainty(kl, unknown, unknown),
    }


def test_one_config_trains_with_every_part_and_the_data_set(
    own: Callable[[str], ModuleType], embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLCAL_PARTS", "brevity,named_images,peak_certainty,pixelation")
    main(["fit", "--config", "experiment.yaml", "--model.init_args.policy.init_args.path", str(embedded), *SMALL])

    rows = [json.loads(line) for line in Path("runs/own_parts/validation.jsonl").read_text().splitlines()]
    saved = yaml.safe_load(Path("runs/own_parts/tensorboard/config.yaml").read_text(encoding="utf-8"))
    pipeline = saved["model"]["init_args"]["pipeline"]["init_args"]
    assert [row["target"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert set(rows[0]["rewards"]) == {"accuracy", "format", "brevity"}
    assert pipeline["perturbation"]["class_path"] == "pixelation.Pixelation"
    assert pipeline["certainty"]["class_path"] == "peak_certainty.PeakCertainty"


def test_the_reward_pays_by_the_limit_of_the_row(
    own: Callable[[str], ModuleType], scenes: Callable[[int], PromptBatch]
) -> None:
    drawn = scenes(2)
    prompts = PromptBatch(drawn.ids, drawn.images, drawn.questions, drawn.targets, ({}, {"limit": 4}))
    records = step(("a" * 20, "a" * 8), prompts)
    attempts = Attempts(prompts, records["rollouts"], records["responses"], records["certainty"])

    assert own("brevity").BrevityReward(limit=10)(attempts).tolist() == [0.5, 0.5]


def test_the_perturbation_makes_squares_of_one_mean_colour(own: Callable[[str], ModuleType]) -> None:
    pixelation = own("pixelation").Pixelation
    image = torch.arange(16.0).view(1, 4, 4).expand(3, 4, 4) / 16
    rng = torch.Generator()

    assert torch.equal(pixelation(0.0)(image, rng, (1, 1)), image)
    squares = pixelation(1.0, largest=2)(image, rng, (1, 1))
    assert (squares[0] * 16).tolist() == [[2.5, 2.5, 4.5, 4.5]] * 2 + [[10.5, 10.5, 12.5, 12.5]] * 2
    assert pixelation(1.0, largest=3)(image, rng, (1, 1)).shape == image.shape  # no multiple of the square
    with pytest.raises(UserError, match="`largest` must be at least 2 pixels"):
        pixelation(largest=1)


def test_the_estimator_ranks_by_the_peak_where_the_mean_cannot(
    own: Callable[[str], ModuleType], scenes: Callable[[int], PromptBatch]
) -> None:
    kl = torch.tensor([[4.0, 0.0, 9.0], [2.0, 2.0, 9.0], [math.nan] * 3])  # of equal means; no image in the last
    records = step(("a", "b", "c"), scenes(3), kl)
    given = records["evidence"], records["rollouts"], records["responses"]

    peak = own("peak_certainty").PeakCertainty()(*given)

    assert peak.score[:2].exp().tolist() == pytest.approx([4.0, 2.0], rel=1e-4)
    assert peak.response[0] > peak.response[1] and peak.response[2].isnan()
    assert peak.token.tolist() == [[1.0, 0.0, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    mean = KLCertainty()(*given).score
    assert mean[0] == pytest.approx(mean[1])


def test_the_data_set_reads_answers_from_names_and_refuses_what_is_no_folder(own: Callable[[str], ModuleType]) -> None:
    named = own("named_images").NamedImages

    found = named(Path("data"), "How many?").questions(RefuseBadRows())
    assert [(record.question, record.target) for record in found] == [("How many?", str(n)) for n in range(1, 7)]
    assert found[0].sizes == ((96, 64),) and found[0].extras["kind"] == "dots"
    with pytest.raises(UserError, match="`path` must be a folder of images; nowhere is none"):
        named(Path("nowhere"), "How many?")


def test_a_family_that_is_named_nowhere_samples_what_it_scores(
    own: Callable[[str], ModuleType], embedded: Path, tmp_path: Path, scenes: Callable[[int], PromptBatch]
) -> None:
    family = own("qwen2_vl")

    folder = family.write_qwen2_vl(tmp_path / "tiny", embedded)

    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen2_vl"
    assert family.check(folder, scenes(2)) < 1e-4


@pytest.mark.parametrize("name", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_sample_file_is_read_whole_under_its_usual_column_names(name: str) -> None:
    found = inspect_table(EXAMPLES / "data" / f"questions.{name}")

    assert len(found.questions) == 6 and found.sizes == ((96, 64),) * 6
    assert found.answers.kind == ("the letter of an option" if name == "jsonl" else "a number")
