"""A trained policy leaves as an ordinary checkpoint folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcal.callbacks import ModelExport
from vlcal.modules import PolicyModule
from vlcal.policy import Adaptation, LoRA, PolicySpec, QLoRA, WholeModel
from vlcal.training.optimization import Optimization

Make = Callable[..., Any]


class Warmup(PolicyModule):
    """Moves every weight a little, without reading anything."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.update_weights(lambda: [sum(weight.square().sum() for weight in self.policy.parameters())])


def module(path: Path, adaptation: Adaptation = WholeModel()) -> Warmup:
    return Warmup(PolicySpec(str(path), adaptation, dtype="float32"), Optimization(lr=1e-2))


def test_what_was_trained_is_what_is_loaded_again(embedded: Path, trainer: Make, loader: Make, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    first = module(embedded)
    before = PolicySpec(str(embedded), dtype="float32").build().state_dict()
    trainer(ModelExport(folder)).fit(first, loader(1))
    trained, loaded = first.policy.state_dict(), PolicySpec(str(folder), dtype="float32").build().state_dict()
    assert trained.keys() == loaded.keys()
    assert all(torch.equal(trained[name], loaded[name]) for name in trained)
    assert any(not torch.equal(before[name], loaded[name]) for name in before)
    assert [each.name for each in tmp_path.iterdir()] == ["export"]


def test_the_weights_are_stored_in_the_dtype_that_is_asked_for(
    embedded: Path, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    first = module(embedded)
    trainer(ModelExport(tmp_path / "export", dtype="bfloat16")).fit(first, loader(1))

    trained, again = first.policy.state_dict(), PolicySpec(str(tmp_path / "export"), dtype="float32").build()
    loaded = again.state_dict()
    assert all(torch.equal(trained[name].bfloat16().float(), loaded[name]) for name in trained)
    assert '"dtype": "bfloat16"' in (tmp_path / "export" / "config.json").read_text()
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "export", embedded)]
    assert sizes[0] < 0.6 * sizes[1]
    with pytest.raises(ValueError, match="`dtype` must name a torch type .* got 'bf15'"):
        ModelExport(tmp_path / "other", dtype="bf15")


@pytest.mark.parametrize("adaptation", [LoRA(2), QLoRA(2)])
def test_the_adapters_of_a_run_are_what_the_next_one_starts_from(
    embedded: Path, trainer: Make, loader: Make, tmp_path: Path, adaptation: LoRA
) -> None:
    folder = tmp_path / "adapter"
    first = module(embedded, adaptation)
    trainer(ModelExport(folder)).fit(first, loader(1))

    second = PolicySpec(str(embedded), type(adaptation)(adapter=folder), dtype="float32").build()

    trained, loaded = dict(first.policy.named_parameters()), dict(second.named_parameters())
    names = [name for name, weight in trained.items() if weight.requires_grad]
    assert names == [name for name, weight in loaded.items() if weight.requires_grad]
    assert all(torch.equal(trained[name], loaded[name]) for name in names)
    assert not (folder / "model.safetensors").exists()


def test_an_earlier_export_is_replaced_and_survives_a_failure(
    embedded: Path, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    trainer(ModelExport(folder)).fit(module(embedded), loader(1))
    weights = (folder / "model.safetensors").read_bytes()

    class Broken(Warmup):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        trainer(ModelExport(folder)).fit(Broken(module(embedded).spec, Optimization()), loader(1))
    assert (folder / "model.safetensors").read_bytes() == weights
    (folder / "stale").touch()
    trainer(ModelExport(folder)).fit(module(embedded), loader(2))
    assert (folder / "model.safetensors").read_bytes() != weights
    assert not (folder / "stale").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["export"]


def test_a_folder_of_something_else_is_refused_before_training(
    embedded: Path, trainer: Make, loader: Make, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(ValueError, match="`folder` must be new, empty, or a checkpoint folder .* holds something else"):
        trainer(ModelExport(tmp_path / "thesis")).fit(module(embedded), loader(1))
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "x"


def test_a_module_without_policy_is_refused(build: Make, learner: Make, fit: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`ModelExport` writes the policy of a module, and Learner has none"):
        fit(learner([build()]), ModelExport(tmp_path / "export"), steps=1)
