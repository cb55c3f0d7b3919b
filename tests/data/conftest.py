"""Small tables in the form in which data sets are published, and a cache that is thrown away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def _cache_thrown_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    import datasets

    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    datasets.disable_progress_bars()


@pytest.fixture(scope="session")
def picture() -> Callable[..., dict[str, Any]]:
    """An image of one colour as data sets store it: its file as bytes."""

    def stored(grey: int = 51, size: tuple[int, int] = (6, 4)) -> dict[str, Any]:
        file = BytesIO()
        Image.new("RGB", size, (grey, grey, grey)).save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    return stored


@pytest.fixture(scope="session")
def write_parquet() -> Callable[[Path, Sequence[dict[str, Any]]], Path]:
    """A parquet file in which columns of images carry the type that hub data sets give them."""
    import datasets

    def is_image(cell: Any) -> bool:
        return isinstance(cell, dict) and set(cell) == {"bytes", "path"}

    def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
        table = datasets.Dataset.from_list(list(rows))
        for name in table.column_names:
            cells = [row.get(name) for row in rows]
            if any(map(is_image, cells)):
                table = table.cast_column(name, datasets.Image())
            elif any(isinstance(cell, list) and cell and is_image(cell[0]) for cell in cells):
                table = table.cast_column(name, datasets.List(datasets.Image()))
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(str(path))
        return path

    return written


@pytest.fixture(scope="session")
def write_hub(write_parquet: Callable[..., Path]) -> Callable[..., Path]:
    """A folder as the hub serves it: parquet files below `data`, and a card that says which is which split."""

    def written(folder: Path, rows: Sequence[dict[str, Any]], splits: str, config: str = "default") -> Path:
        lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
        for split in splits.split("+"):
            write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", rows)
            lines += [f"  - split: {split}", f"    path: data/{split}-*"]
        (folder / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
        return folder

    return written
