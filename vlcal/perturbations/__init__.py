"""Image to image, seeded: an image loses information, and the policy that relied on it predicts other tokens."""

from vlcal.perturbations.base import NoPerturbation, Perturbation
from vlcal.perturbations.mixture import Mixture
from vlcal.perturbations.patches import PatchMask
from vlcal.perturbations.whole import Blank, Blur, CenterCrop, GaussianNoise

__all__ = [
    "Blank",
    "Blur",
    "CenterCrop",
    "GaussianNoise",
    "Mixture",
    "NoPerturbation",
    "PatchMask",
    "Perturbation",
]
