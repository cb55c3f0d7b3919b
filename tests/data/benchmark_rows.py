"""One or more rows of every benchmark as it is published, and answers that are right and wrong for the first."""

from __future__ import annotations

from tests.data.cases.base import PICTURE, Case
from tests.data.cases.mathematics import MATHEMATICS, mathverse, mathvista
from tests.data.cases.seeing import SEEING, mmmu

__all__ = ["CASES", "PICTURE", "Case", "mathverse", "mathvista", "mmmu"]

CASES: dict[str, Case] = {**MATHEMATICS, **SEEING}
