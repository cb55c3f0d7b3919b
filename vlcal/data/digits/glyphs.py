"""The handwriting: the UCI optical digits (Alpaydin and Kaynak, 1998) that ship inside scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from torch import Tensor

HELD_OUT = 500
SIDE = 8


@dataclass(frozen=True)
class Glyphs:
    """Handwritten digits, ink 1 on paper 0, at the 8 x 8 pixels they were scanned to.

    Args:
        images: Ink of each digit.
        labels: Which digit it is.
        scans: Row of each digit in the published file, which identifies a scan in both splits.
    """

    images: Float[Tensor, "count 8 8"]
    labels: Int[Tensor, " count"]
    scans: Int[Tensor, " count"]

    def __len__(self) -> int:
        return len(self.labels)


@cache
def load_glyphs(held_out: bool) -> Glyphs:
    """The digits to learn from, or the 500 that are kept for testing; no scan is in both."""
    published = load_digits()
    order = np.random.default_rng(0).permutation(len(published.target))
    scans = order[:HELD_OUT] if held_out else order[HELD_OUT:]
    return Glyphs(
        images=torch.tensor(published.images[scans] / 16.0, dtype=torch.float32),
        labels=torch.tensor(published.target[scans]),
        scans=torch.tensor(scans),
    )
