"""What a case of a benchmark is, and what several of them share."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image


def _stored() -> dict[str, Any]:
    file = BytesIO()
    Image.new("RGB", (6, 4), (51, 51, 51)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


PICTURE = _stored()
# Twelve ways to write an answer that leave it what it is.
WRITTEN = (
    "{}",
    "{}.",
    " {}\n",
    "**{}**",
    "`{}`",
    "${}$",
    r"\({}\)",
    r"\text{{{}}}",
    r"\textbf{{{}}}.",
    r"\boxed{{{}}}",
    "Answer: {}",
    "The answer is **{}**.",
)


class Case(NamedTuple):
    """Rows, the first of which becomes this question, with these right and these wrong answers."""

    rows: list[dict[str, Any]]
    question: str
    target: str
    right: list[str]
    wrong: list[str]
    question_id: str | None = None
    images: int = 1
