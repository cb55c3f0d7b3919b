"""Image to image, seeded: what is taken from the image to see how much the policy relied on it."""

from vlcal.perturbations.base import NoPerturbation, Perturbation
from vlcal.perturbations.blank import Blank
from vlcal.perturbations.blur import Blur
from vlcal.perturbations.crop import CenterCrop
from vlcal.perturbations.mixture import Mixture
from vlcal.perturbations.noise import GaussianNoise
from vlcal.perturbations.patches import PatchMask

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
