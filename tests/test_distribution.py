"""What `pip install vlcal` brings: built here as pip builds it, without a download."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.inference.conftest import labelled
from vlcal.types import PromptBatch

ROOT = Path(__file__).parents[1]
# One process each: setuptools changes `sys.argv`.
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml"))
SCRIPT = ROOT / "docs" / "walkthrough.sh"
# As small as it gets, in the form that the shipped base was taught.
SETTINGS = """
trainer: {accelerator: cpu, limit_train_batches: 1, limit_val_batches: 1, limit_predict_batches: 1, max_epochs: 1}
model:
  init_args:
    policy: {init_args: {dtype: float32}}
    pipeline:
      init_args: {reader: {init_args: {grammar: {instructions: "", levels: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}}}
    sampling: {init_args: {group_size: 3, training: {init_args: {max_new_tokens: 72}}}}
data: {init_args: {batch_size: 4}}
"""
PAGES = [ROOT / "vlcal/evaluation/report/page", ROOT / "vlcal/ui/page"]
PAGE = sorted(str(path.relative_to(ROOT)) for folder in PAGES for path in folder.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel."""
    pytest.importorskip("setuptools", minversion="77.0.3")
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "vlcal", source / "vlcal", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", source / "configs")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = tmp_path_factory.mktemp("built")
    for kind in ("build_sdist", "build_wheel"):
        subprocess.run([sys.executable, "-c", BUILD, kind, str(built)], cwd=source, capture_output=True, check=True)
    return built


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip makes of the wheel; what that needs is taken from the environment of the tests."""
    pytest.importorskip("pip")
    folder, (wheel,) = tmp_path_factory.mktemp("installed"), built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, str(wheel)], capture_output=True, check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.parametrize(
    "wanted", [f"vlcal/{CONFIGS[0]}", "vlcal/configs/digits/best.yaml", "vlcal/recipes/consumer.yaml", "vlcal/py.typed"]
)
def test_the_wheel_holds_configs_and_recipes(wheel: zipfile.ZipFile, wanted: str) -> None:
    assert wanted in wheel.namelist()


def test_wheel_and_sdist_hold_every_config_and_the_pages(built: Path, wheel: zipfile.ZipFile) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*(f"vlcal/{name}" for name in CONFIGS), *PAGE}

    assert wanted <= {*wheel.namelist()}
    assert wanted <= source


def test_the_demo_finds_its_configs_outside_a_clone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    asked = "import vlcal.demo as demo; print(demo.CONFIGS); assert (demo.CONFIGS / 'best.yaml').is_file()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", asked],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(str(tmp_path))


def test_fifty_labelled_images_go_through_every_command_of_the_installed_wheel(
    installed: Path, scenes: Callable[[int], PromptBatch], tmp_path: Path
) -> None:
    data, desk = tmp_path / "photos", tmp_path / "desk"
    for folder in (data, desk):
        folder.mkdir()
    (desk / "small.yaml").write_text(SETTINGS, encoding="utf-8")
    words = ["bash", str(SCRIPT), str(labelled(data, scenes(50))), str(installed / "vlcal" / "base")]
    path = os.pathsep.join([str(installed / "bin"), os.environ["PATH"]])
    env = {**os.environ, "PYTHONPATH": str(installed), "PATH": path}
    asked = [sys.executable, "-P", "-c", "import vlcal; print(vlcal.__file__)"]
    found = subprocess.run(asked, cwd=desk, env=env, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(installed))  # and not the clone

    done = subprocess.run(
        [*words, "--config", "small.yaml"], cwd=desk, env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout + done.stderr
    assert [line for line in said.splitlines() if "warning" in line.lower() or "deprecated" in line] == []
    assert "8 of 8 responses keep to the form" in said
    run = desk / "runs" / "experiment"
    assert "<html" in (run / "report" / "report.html").read_text(encoding="utf-8")
    assert len(rows(run / "predictions.jsonl")) == len(rows(run / "validation.jsonl"))
    of_run, of_export = (rows(desk / name) for name in ("answers.jsonl", "answers-merged.jsonl"))
    assert len(of_run) == len(of_export) == 50
    assert all(sum(bool(row["parsed"]) for row in replies) > 25 for replies in (of_run, of_export))
    card = (desk / "merged" / "README.md").read_text(encoding="utf-8")
    assert "library_name: transformers" in card and "nats a token" in card


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
