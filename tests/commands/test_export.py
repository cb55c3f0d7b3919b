"""`vlcal export`: what comes out is an ordinary checkpoint with the numbers of the trained policy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, GenerationConfig, ProcessorMixin

from vlcal.cli import main
from vlcal.commands.export import export
from vlcal.commands.merged_shift import answered
from vlcal.inference.run_config import RunConfig
from vlcal.modules import SupervisedModule
from vlcal.policy import Adaptation, Continuations, LanguageModel, LoRA, Policy, PolicySpec, QLoRA

Run = Callable[..., tuple[Path, Path, Policy]]


@pytest.fixture
def run(embedded: Path, tmp_path: Path) -> Run:
    """Config and checkpoint of a run that moved what learns, and the policy it ended with."""

    def made(adaptation: type[Adaptation], **settings: Any) -> tuple[Path, Path, Policy]:
        spec = {
            "path": "${.....trainer.default_root_dir}",
            "dtype": "float32",
            "adaptation": {
                "class_path": f"vlcal.policy.{adaptation.__name__}",
                "init_args": yaml.safe_load(json.dumps(settings, default=str)),
            },
        }
        policy = {"class_path": "vlcal.policy.PolicySpec", "init_args": spec}
        model = {"class_path": "vlcal.modules.SupervisedModule", "init_args": {"policy": policy}}
        others = {"trainer": {"default_root_dir": str(embedded)}, "data": {"class_path": "not.looked.At"}}
        config, checkpoint = tmp_path / "config.yaml", tmp_path / "last.ckpt"
        config.write_text(yaml.dump({**others, "model": model}))
        module = SupervisedModule(PolicySpec(str(embedded), adaptation(**settings), dtype="float32"))
        module.configure_model()
        with torch.no_grad():
            for weight in module.policy.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * 0.05)
        trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.strategy.connect(module)
        trainer.save_checkpoint(checkpoint)
        return config, checkpoint, module.policy

    return made


@torch.no_grad()
def log_probs(model: nn.Module, processor: ProcessorMixin) -> Tensor:
    """Of the tokens of a completion, by transformers alone."""
    image, completion = torch.rand(3, 32, 96, generator=torch.Generator().manual_seed(1)), "The digits are 4 and 7."
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is the first digit?"}]}
    prompt = processor.apply_chat_template([message], add_generation_prompt=True)
    inputs = processor(text=[prompt + completion], images=[image], do_rescale=False, return_tensors="pt")
    chosen = processor.tokenizer(completion, return_tensors="pt").input_ids
    found = model(**inputs).logits[:, -chosen.shape[1] - 1 : -1].log_softmax(-1)
    return found.gather(-1, chosen[..., None])[..., 0]


def stated(policy: Policy) -> Tensor:
    """The log-probabilities of a policy, adapters and all."""
    return log_probs(policy.adapted, policy.processor)


def exported(folder: Path) -> Tensor:
    """The log-probabilities of a folder, read as anyone reads a checkpoint."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return log_probs(model, AutoProcessor.from_pretrained(folder))


@pytest.mark.parametrize(("adaptation", "settings"), [(LoRA, {"rank": 2}), (LanguageModel, {})])
def test_an_exported_model_gives_the_numbers_of_the_policy_without_vlcal_or_peft(
    run: Run, tmp_path: Path, adaptation: type[Adaptation], settings: dict[str, int]
) -> None:
    config, checkpoint, policy = run(adaptation, **settings)

    export(config, tmp_path / "out", checkpoint)

    torch.testing.assert_close(exported(tmp_path / "out"), stated(policy), atol=2e-5, rtol=0)


def test_an_exported_folder_is_complete_and_ordinary(run: Run, embedded: Path, tmp_path: Path) -> None:
    config, checkpoint, policy = run(QLoRA, rank=2)

    export(config, tmp_path / "out", checkpoint)

    files = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    expected = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"}
    expected |= {"README.md"}
    assert expected <= files and not any("adapter" in name or name.endswith(".bin") for name in files)
    card = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"
    assert "vlcal fit --config config.yaml" in card and "class_path: not.looked.At" in card
    assert "merged into the same in full precision: how far is not measured" in card and "holds no predictions" in card
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in settings and "auto_map" not in settings and settings["dtype"] == "float32"
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == policy.tokenizer.get_vocab()
    own = GenerationConfig.from_pretrained(embedded).eos_token_id
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == own
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_adapters_of_qlora_are_merged_into_the_base_as_it_was_before_it_was_quantised(
    run: Run, embedded: Path, tmp_path: Path
) -> None:
    config, checkpoint, policy = run(QLoRA, rank=2, alpha=6.0)

    export(config, tmp_path / "out", checkpoint)

    base, merged = (
        AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).state_dict()
        for folder in (embedded, tmp_path / "out")
    )
    name = "model.language_model.layers.3.mlp.up_proj"
    weights = dict(policy.adapted.base_model.model.named_parameters())
    product = weights[f"{name}.lora_B.default.weight"] @ weights[f"{name}.lora_A.default.weight"]
    torch.testing.assert_close(merged[f"{name}.weight"], base[f"{name}.weight"] + 6.0 / 2 * product)
    assert all(torch.equal(merged[key], base[key]) for key in base if "_proj" not in key)
    # What is left is the error of 4 bits, which the merged model no longer makes.
    gap = (exported(tmp_path / "out") - stated(policy)).abs()
    assert 1e-3 < gap.mean() < 0.5


def test_an_export_of_qlora_says_how_far_it_is_from_what_was_trained_as_measured_on_prompts_of_the_run(
    run: Run, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, checkpoint, policy = run(QLoRA, rank=2)
    experiment = yaml.safe_load((Path(__file__).parents[2] / "configs" / "digits" / "best.yaml").read_text())
    experiment["model"]["init_args"]["policy"] = yaml.safe_load(config.read_text())["model"]["init_args"]["policy"]
    experiment["data"]["init_args"] |= {"steps": 1, "batch_size": 3, "held_out": 1}
    experiment["trainer"]["default_root_dir"] = str(embedded)
    config.write_text(yaml.dump(experiment))

    export(config, tmp_path / "out", checkpoint)

    said = " ".join(capsys.readouterr().out.split())
    (nats,) = re.findall(r"another model than was trained.* differ by (\d\.\d{3}) nats a token on 3 prompts", said)
    study = answered(config, policy)
    rollouts, merged = study.assessment.rollouts, PolicySpec(str(tmp_path / "out"), dtype="float32").build()
    with torch.no_grad():
        trained, other = (
            each.score(Continuations.of(study.encoded, rollouts.tokens, rollouts.mask), study.engine.temperature)[0]
            for each in (policy, merged)
        )
    assert float(nats) == pytest.approx(float((trained - other)[rollouts.mask].abs().mean()), abs=6e-4)
    assert float(nats) > 1e-3
    assert f"with the adapter in {tmp_path / 'out' / 'adapter'}" in said


def test_the_adapter_beside_an_export_of_qlora_over_4_bits_is_the_policy_that_was_trained(
    run: Run, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, checkpoint, policy = run(QLoRA, rank=2, alpha=6.0)

    export(config, tmp_path / "out", checkpoint)

    adaptation = QLoRA(adapter=tmp_path / "out" / "adapter")
    again = PolicySpec(str(embedded), adaptation, dtype="float32").build()
    torch.testing.assert_close(stated(again), stated(policy), atol=1e-5, rtol=0)
    # The data of this run are nowhere, which is no reason not to export it.
    said = " ".join(capsys.readouterr().out.split())
    assert "how far is not measured, since the prompts of the run cannot be had: " in said


def test_an_export_of_unquantised_adapters_is_the_model_that_was_trained_and_says_nothing_else(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, checkpoint, _ = run(LoRA, rank=2)

    export(config, tmp_path / "out", checkpoint)

    assert capsys.readouterr().out == "" and not (tmp_path / "out" / "adapter").exists()


def test_an_adapter_that_the_config_starts_from_is_merged_without_a_checkpoint(run: Run, tmp_path: Path) -> None:
    _, _, policy = run(LoRA, rank=2)
    policy.save(tmp_path / "adapter")
    config, _, _ = run(LoRA, adapter=tmp_path / "adapter")

    export(config, tmp_path / "out")

    torch.testing.assert_close(exported(tmp_path / "out"), stated(policy), atol=2e-5, rtol=0)


def test_the_config_that_a_run_writes_is_read_like_the_one_it_was_given(embedded: Path, tmp_path: Path) -> None:
    given = Path(__file__).parents[2] / "configs" / "digits" / "best.yaml"
    (tmp_path / "warm").symlink_to(embedded)
    quiet = [
        "--trainer.callbacks",
        "[]",
        "--trainer.enable_checkpointing",
        "false",
        "--trainer.limit_train_batches",
        "0",
    ]
    main(["fit", "--config", str(given), "--trainer.default_root_dir", str(tmp_path), *quiet])

    spec = RunConfig(tmp_path / "tensorboard" / "best" / "config.yaml").policy()

    assert spec.path == str(tmp_path / "warm") and spec.dtype == "float32"
    assert isinstance(spec.adaptation, LanguageModel)
    assert RunConfig(given).policy().path == "runs/demo/warm"


def test_nothing_to_merge_is_refused(run: Run, tmp_path: Path) -> None:
    config, _, _ = run(LoRA, rank=2)

    with pytest.raises(ValueError, match="`ckpt_path` must name a checkpoint of the run"):
        export(config, tmp_path / "out")


def test_a_checkpoint_of_another_policy_is_refused_and_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    config, checkpoint, _ = run(LoRA, rank=2)
    config.write_text(config.read_text().replace("rank: 2", "rank: 4"))

    with pytest.raises(ValueError, match="`ckpt_path` was trained under .*: `policy.adaptation.rank` 2, here 4"):
        export(config, tmp_path / "out", checkpoint)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "`config` must be the YAML file of a run; .* is not there"),
        ("trainer: {}", "`config` must describe a policy at model.init_args.policy"),
        ("model: [", "`config` must be the YAML file of a run; .* does not"),
        (
            "model: {init_args: {policy: {class_path: vlcal.policy.PolicySpec, init_args: {way: x}}}}",
            "`config` must describe a policy at model.init_args.policy",
        ),
    ],
)
def test_a_config_without_policy_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content)

    with pytest.raises(ValueError, match=message):
        RunConfig(config).policy()


def test_a_folder_of_something_else_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")

    with pytest.raises(ValueError, match="`folder` must be new, empty, or a checkpoint folder"):
        export(tmp_path / "missing.yaml", tmp_path / "thesis")


@pytest.mark.parametrize("content", [None, b"no checkpoint"])
def test_a_checkpoint_that_cannot_be_read_is_refused(run: Run, tmp_path: Path, content: bytes | None) -> None:
    config, checkpoint, _ = run(LoRA, rank=2)
    checkpoint.unlink()
    if content is not None:
        checkpoint.write_bytes(content)

    with pytest.raises(ValueError, match="`ckpt_path` must be a checkpoint"):
        export(config, tmp_path / "out", checkpoint)


def test_a_checkpoint_with_flipped_bytes_is_not_exported(run: Run, tmp_path: Path) -> None:
    config, checkpoint, policy = run(LoRA, rank=2)
    weight = next(weight for weight in policy.parameters() if weight.requires_grad).detach().numpy().tobytes()
    checkpoint.write_bytes(checkpoint.read_bytes().replace(weight, b"\0\0\xc0\x7f" + weight[4:]))  # NaN

    with pytest.raises(ValueError, match=r"`ckpt_path` must be a checkpoint; .* member archive/data/\d+ are not those"):
        export(config, tmp_path / "out", checkpoint)
    assert not (tmp_path / "out").exists()
