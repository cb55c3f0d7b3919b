"""What `pip install vlcal` brings: built here as pip builds it, without a download."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# One process each: setuptools changes `sys.argv`.
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml"))
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
