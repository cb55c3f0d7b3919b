"""The handwriting: the UCI optical digits (Alpaydin and Kaynak, 1998) that ship inside scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

HELD_OUT = 500
SIDE = 8
SLANT, SCALE, SHIFT = 0.25, 0.12, 0.15  # largest shear, relative change of size, and shift in half widths of a digit


@dataclass(frozen=True)
class Glyphs:
    """Handwritten digits, ink 1 on paper 0, at the 8 x 8 pixels they were scanned to.

    Args:
        images: Ink of each digit.
        labels: Which digit it is.
        scans: Row of each digit in the published file, which identifies a scan in both splits.
        variation: How far a digit is slanted, scaled and shifted each time it is drawn: 0 leaves it as scanned, 1 uses
            the full ranges.
    """

    images: Float[Tensor, "count 8 8"]
    labels: Int[Tensor, " count"]
    scans: Int[Tensor, " count"]
    variation: float

    def __len__(self) -> int:
        return len(self.labels)

    def ink(self, index: int, rng: torch.Generator) -> Float[Tensor, "8 8"]:
        """One digit, written a little differently each time where there is variation."""
        slant, height, width, down, right = (
            self.variation * (torch.rand(5, generator=rng) * 2 - 1) * torch.tensor([SLANT, SCALE, SCALE, SHIFT, SHIFT])
        ).tolist()
        if not self.variation:
            return self.images[index]
        affine = torch.tensor([[[1 + width, slant, right], [0, 1 + height, down]]])
        grid = affine_grid(affine, [1, 1, SIDE, SIDE], align_corners=False)
        return grid_sample(self.images[index][None, None], grid, align_corners=False)[0, 0]


@cache
def load_glyphs(held_out: bool) -> Glyphs:
    """The digits to learn from, or the 500 that are kept for testing; no scan is in both.

    There are only 1,297 scans to learn from. They are varied, or a model grows sure of handwriting that it has
    memorised and is overconfident about the 500 others.
    """
    published = load_digits()
    order = np.random.default_rng(0).permutation(len(published.target))
    scans = order[:HELD_OUT] if held_out else order[HELD_OUT:]
    return Glyphs(
        images=torch.tensor(published.images[scans] / 16.0, dtype=torch.float32),
        labels=torch.tensor(published.target[scans]),
        scans=torch.tensor(scans),
        variation=0.0 if held_out else 1.0,
    )
