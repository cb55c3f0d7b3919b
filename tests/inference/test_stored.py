"""Models from folders: moved runs, exports, adapters; and what is asked of them."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import vlcal
from vlcal.commands.export import export
from vlcal.errors import UserError
from vlcal.inference import CalibratedModel, Question, load
from vlcal.inference.run_config import RunConfig
from vlcal.modules import SupervisedModule
from vlcal.policy import LoRA, PolicySpec, RolloutEngine
from vlcal.scores import Minimum
from vlcal.text import Grammar
from vlcal.training.sampling import SamplingPlan

LEVELS = [0, 5, 9]


@pytest.fixture(scope="module")
def run(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: a config with a form of its own, and adapters that were moved."""
    import lightning

    folder = tmp_path_factory.mktemp("made") / "run"
    shutil.copytree(embedded, folder / "base")
    policy = {"path": str(folder / "base"), "dtype": "float32"}
    policy["adaptation"] = {"class_path": "vlcal.policy.LoRA", "init_args": {"rank": 2}}  # type: ignore[assignment]
    reader = {"grammar": {"levels": LEVELS, "instructions": "Say."}, "overall": {"class_path": "vlcal.scores.Minimum"}}
    rewards = {"accuracy": {"class_path": "vlcal.rewards.AccuracyReward"}}
    pipeline = {"reader": {"class_path": "vlcal.training.ResponseReader", "init_args": reader}, "rewards": rewards}
    pipeline["certainty"] = {"class_path": "vlcal.certainty.PlattCertainty"}  # remembers what it was shown
    short = {"class_path": "vlcal.policy.GroupEngine", "init_args": {"max_new_tokens": 5}}
    model = {
        "policy": {"class_path": "vlcal.policy.PolicySpec", "init_args": policy},
        "pipeline": {"class_path": "vlcal.training.Pipeline", "init_args": pipeline},
        "sampling": {"class_path": "vlcal.training.Sampling", "init_args": {"validation": short}},
    }
    saves = {"class_path": "ModelCheckpoint", "init_args": {"dirpath": str(folder / "checkpoints")}}
    config = {
        "trainer": {"default_root_dir": str(folder), "callbacks": [saves]},
        "model": {"class_path": "vlcal.modules.ReinforcementModule", "init_args": model},
        "data": {
            "init_args": {"image_size": {"class_path": "vlcal.data.ImageSize", "init_args": {"max_pixels": 2048}}}
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    module = SupervisedModule(PolicySpec(str(embedded), LoRA(rank=2), dtype="float32"))
    module.configure_model()
    with torch.no_grad():
        for weight in module.policy.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.05)
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(module)
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> CalibratedModel:
    return load(run, device="cpu")


@pytest.fixture
def picture() -> Image.Image:
    image = Image.new("RGB", (96, 32), (10, 200, 30))
    image.putpixel((3, 3), (255, 255, 255))  # an image of one colour has no visual certainty
    return image


def test_importing_the_package_loads_no_heavy_library() -> None:
    program = "import sys, vlcal; assert not {'torch', 'numpy', 'transformers'} & {*sys.modules}; vlcal.score"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_name_that_the_package_does_not_have_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'vlcal' has no attribute 'lode'"):
        vlcal.lode  # noqa: B018


def test_a_model_is_asked_in_the_form_of_its_run(model: CalibratedModel) -> None:
    reader = model.pipeline.reader

    assert reader.grammar == Grammar(levels=tuple(LEVELS), instructions="Say.")
    assert isinstance(reader.overall, Minimum) and model.image_size.max_pixels == 2048


def test_replies_belong_to_their_questions_where_a_validation_samples_several(
    model: CalibratedModel, picture: Image.Image
) -> None:
    several = CalibratedModel(model.policy, model.pipeline, replace(model.plan, group_size=2), model.image_size)
    asked = [Question(text, (picture,)) for text in ("What is it?", "Which colour has it?", "How many?")]

    alone = [model.ask(picture, one.text).response for one in asked]
    assert [reply.response for reply in several.ask_all(asked)] == alone
    assert [reply.response for reply in several.measure_all(asked)] == alone


def test_a_run_is_loaded_with_the_weights_of_its_checkpoint(run: Path, model: CalibratedModel) -> None:
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    loaded = {f"_policy.{name}": weight for name, weight in model.policy.named_parameters()}

    assert len(saved) == 112 and all(torch.equal(loaded[name], weight) for name, weight in saved.items())


def test_an_export_is_read_as_its_run_was(run: Path, model: CalibratedModel, tmp_path: Path) -> None:
    export(run / "config.yaml", tmp_path / "out", run / "checkpoints" / "last.ckpt")
    merged = load(tmp_path / "out", device="cpu")

    assert merged.pipeline.reader.grammar == model.pipeline.reader.grammar
    assert isinstance(merged.pipeline.reader.overall, Minimum) and merged.image_size.max_pixels == 2048
    assert merged.plan.seed == model.plan.seed


def test_an_adapter_without_its_contract_is_loaded_by_the_config_that_is_named(
    run: Path, model: CalibratedModel, tmp_path: Path, picture: Image.Image
) -> None:
    model.policy.save(tmp_path / "adapter")
    with pytest.raises(UserError, match="`config` must name the config of the run, .* has no vlcal.yaml"):
        load(tmp_path / "adapter")

    adapter = load(tmp_path / "adapter", config=run / "config.yaml", device="cpu")

    assert adapter.ask(picture, "What is it?").response == model.ask(picture, "What is it?").response


def test_a_run_that_was_moved_is_loaded_from_where_it_is(
    run: Path, model: CalibratedModel, tmp_path: Path, picture: Image.Image
) -> None:
    shutil.copytree(run, tmp_path / "elsewhere")
    text = (run / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "elsewhere" / "config.yaml").write_text(text.replace(str(run), "/gone/run"), encoding="utf-8")

    moved = load(tmp_path / "elsewhere", device="cpu")

    assert moved.ask(picture, "What is it?").response == model.ask(picture, "What is it?").response


def test_a_folder_of_several_runs_is_refused_and_one_config_chooses(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "all")
    (tmp_path / "all" / "second").mkdir()
    shutil.copy(run / "config.yaml", tmp_path / "all" / "second" / "config.yaml")

    with pytest.raises(UserError, match="`path` must name one run; .* holds several"):
        load(tmp_path / "all")
    assert load(tmp_path / "all" / "second" / "config.yaml", device="cpu").plan.group_size == 1


def test_a_run_without_a_checkpoint_says_where_it_was_sought(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("*.ckpt"))
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace(str(run), str(tmp_path / "run")), encoding="utf-8")

    with pytest.raises(UserError, match="`checkpoint` must name a checkpoint of the run, .*/checkpoints"):
        load(tmp_path / "run", device="cpu")


def test_the_certainty_is_measured_only_where_it_is_asked_for(model: CalibratedModel, picture: Image.Image) -> None:
    first = model.measure(picture, "What is it?")

    assert first.certainty_score is not None and model.ask(picture, "What is it?").certainty_score is None
    assert model.measure(picture, "What is it?").response == first.response
    assert model.ask(picture, "What is it?").response == first.response


def test_a_well_formed_response_is_read_measured_and_not_remembered(
    model: CalibratedModel, picture: Image.Image, replay: Callable[..., RolloutEngine]
) -> None:
    text = model.pipeline.reader.grammar.render("7 and 2", "7", "7", "clear", visual_level=5, reasoning_level=9)
    said = CalibratedModel(model.policy, model.pipeline, SamplingPlan(replay([text]), group_size=1, seed=0))

    reply = said.measure(picture, "Which is larger?")

    assert (reply.answer, reply.response, reply.parsed, reply.truncated) == ("7", text, True, False)
    assert (reply.visual, reply.reasoning, reply.overall) == (0.555556, 1.0, 0.555556)  # 5 of 9; the minimum of both
    assert reply.certainty_score is not None and math.isfinite(reply.certainty_score)
    assert len(said.pipeline.state_dict()["certainty"]["recent"]) == 0


def test_path_picture_and_tensor_of_one_image_give_one_reply(
    model: CalibratedModel, picture: Image.Image, tmp_path: Path
) -> None:
    picture.save(tmp_path / "a.png")
    pixels = torch.tensor([10, 200, 30.0])[:, None, None].expand(3, 32, 96)[..., :63, :63] / 255
    scaled = model._pixels(picture, Path())  # of at most 2048 pixels

    assert scaled[0].numel() <= 2048 < 96 * 32 and pixels[:, 0, 0].tolist() == scaled[:, 0, 0].tolist()
    replies = [model.ask(one, "Q?").response for one in (picture, tmp_path / "a.png", str(tmp_path / "a.png"), scaled)]
    assert len(set(replies)) == 1


def test_several_questions_and_several_images_are_asked_together(model: CalibratedModel, picture: Image.Image) -> None:
    replies = model.ask_all([Question("What?", (picture,)), Question("Which of both?", (picture, picture))])

    assert len(replies) == 2 and model.ask([picture, picture], "Which of both?").response


@pytest.mark.parametrize(
    ("image", "question", "message"),
    [
        ("nowhere.png", "Q?", "image nowhere.png is not there"),
        (torch.zeros(3, 4, 4), " ", "`question` must be a text; number 1 is empty"),
        (torch.zeros(4, 4), "Q?", r"`image` as a tensor must be \(3, height, width\) in .0, 1.; got \(4, 4\)"),
        (torch.full((3, 4, 4), 200.0), "Q?", "Divide levels of 0 to 255"),
    ],
)
def test_what_cannot_be_asked_is_refused(model: CalibratedModel, image: object, question: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.ask(image, question)  # type: ignore[arg-type]


def test_a_damaged_checkpoint_is_refused_and_its_flipped_bytes_never_answer(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    content = bytearray(checkpoint.read_bytes())
    content[content.index(max(weights.values(), key=torch.Tensor.numel).numpy().tobytes())] ^= 0xFF
    checkpoint.write_bytes(content)

    with pytest.raises(UserError, match=r"`ckpt_path` must be a checkpoint; .*last\.ckpt is damaged .* its member"):
        load(tmp_path / "run")


def test_a_part_that_a_config_names_over_its_recipe_has_its_own_defaults_as_in_fit(tmp_path: Path) -> None:
    engine = "{class_path: vlcal.policy.GroupEngine, init_args: {max_new_tokens: 7, temperature: 0.5}}"
    adapted = "{class_path: vlcal.policy.QLoRA, init_args: {rank: 4, alpha: 64}}"
    policy = f"policy: {{class_path: vlcal.policy.PolicySpec, init_args: {{path: a, adaptation: {adapted}}}}}"
    recipe, config = tmp_path / "recipe.yaml", tmp_path / "config.yaml"
    recipe.write_text(f"model: {{init_args: {{{policy}, sampling: {{init_args: {{validation: {engine}}}}}}}}}\n")
    over = "policy: {init_args: {adaptation: {class_path: vlcal.policy.LoRA}}}"
    over += ", sampling: {init_args: {validation: {class_path: vlcal.policy.GroupEngine, init_args: {top_p: 0.9}}}}"
    config.write_text(f"recipe: recipe.yaml\nmodel: {{init_args: {{{over}}}}}\n")

    run = RunConfig(config)
    adaptation = run.policy().adaptation

    assert type(adaptation) is LoRA and (adaptation.rank, adaptation.alpha) == (LoRA().rank, LoRA().alpha)
    kept = run.part("model.init_args.sampling.init_args.validation.init_args")
    assert kept == {"max_new_tokens": 7, "temperature": 0.5, "top_p": 0.9}  # of the class that is named again
