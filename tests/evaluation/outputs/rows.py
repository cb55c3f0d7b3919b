"""Responses with known confidences, and rows of them written and read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlcal.evaluation.outputs import Outputs, Request, read_outputs
from vlcal.text import Grammar

SURE = Grammar().render("a cat", "so a cat", "cat", "clear", 9, 8)
UNSURE = Grammar().render("a blur", "so a dog", "dog", "lost", 2, 5)


def read(folder: Path, name: str, rows: Sequence[dict[str, Any]], **request: Any) -> Outputs:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_outputs(path, Request(**request))
