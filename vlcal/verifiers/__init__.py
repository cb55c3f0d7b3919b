"""Whether an answer is right, and, where a data set knows, whether the image was read and the rest concluded right."""

from vlcal.verifiers.base import NoVerifier, Verifier
from vlcal.verifiers.choice import ChoiceVerifier
from vlcal.verifiers.exact import ExactVerifier
from vlcal.verifiers.latex import MathVerifier
from vlcal.verifiers.numeric import NumericVerifier
from vlcal.verifiers.oracle import NoOracle, Oracle

__all__ = [
    "ChoiceVerifier",
    "ExactVerifier",
    "MathVerifier",
    "NoOracle",
    "NoVerifier",
    "NumericVerifier",
    "Oracle",
    "Verifier",
]
