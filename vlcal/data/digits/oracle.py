"""Judges a response about a scene by both truths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vlcal.text import ParsedResponse
from vlcal.verifiers import Oracle


class DigitsOracle(Oracle):
    """Knows the digits of a scene: was it read right, and does the answer follow from what it says it read.

    A response without a reading has not read right. Where its reading has another number of digits than the scene,
    nothing definite follows from it, and its reasoning is not judged.
    """

    def __call__(self, response: ParsedResponse, extras: Mapping[str, Any]) -> tuple[float, float]:
        """Both truths as 0 or 1, the second NaN where it cannot be judged."""
        stated = [int(character) for character in response.vision or "" if character in "0123456789"]
        true = extras["reading"]
        if len(stated) != len(true):
            return 0.0, math.nan
        follows = extras["question"].answer(stated)
        return float(tuple(stated) == tuple(true)), float((response.answer or "").strip() == follows)
