"""Whether an answer is right, and, where a data set knows, whether the image was read and the rest concluded right."""

from vlcal.verifiers.alternatives import AnyTarget
from vlcal.verifiers.arithmetic import DecimalVerifier
from vlcal.verifiers.base import NoVerifier, Verifier
from vlcal.verifiers.binary import YesNoVerifier
from vlcal.verifiers.choice import ChoiceVerifier
from vlcal.verifiers.count import CountVerifier
from vlcal.verifiers.exact import ExactVerifier
from vlcal.verifiers.latex import MathVerifier
from vlcal.verifiers.numeric import NumericVerifier
from vlcal.verifiers.options import LetterSetVerifier, NearestOptionVerifier, OptionVerifier
from vlcal.verifiers.oracle import NoOracle, Oracle
from vlcal.verifiers.phrase import PhraseVerifier
from vlcal.verifiers.relaxed import RelaxedVerifier
from vlcal.verifiers.rounded import RoundedVerifier, TruncatedVerifier

__all__ = [
    "AnyTarget",
    "ChoiceVerifier",
    "CountVerifier",
    "DecimalVerifier",
    "ExactVerifier",
    "LetterSetVerifier",
    "MathVerifier",
    "NearestOptionVerifier",
    "NoOracle",
    "NoVerifier",
    "NumericVerifier",
    "OptionVerifier",
    "Oracle",
    "PhraseVerifier",
    "RelaxedVerifier",
    "RoundedVerifier",
    "TruncatedVerifier",
    "Verifier",
    "YesNoVerifier",
]
