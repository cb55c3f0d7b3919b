"""Whether an answer is right, and, where a data set knows, whether the image was read and the rest concluded right."""

from vlcal.verifiers.base import AnyTarget, NoVerifier, Verifier, verdicts
from vlcal.verifiers.mathematics import DecimalVerifier, ListVerifier, MathVerifier
from vlcal.verifiers.numbers import (
    CountVerifier,
    NumericVerifier,
    RelaxedVerifier,
    RoundedVerifier,
    TruncatedVerifier,
)
from vlcal.verifiers.options import ChoiceVerifier, LetterSetVerifier, NearestOptionVerifier, OptionVerifier
from vlcal.verifiers.oracle import NoOracle, Oracle
from vlcal.verifiers.words import ExactVerifier, PhraseVerifier, YesNoVerifier

__all__ = [
    "AnyTarget",
    "ChoiceVerifier",
    "CountVerifier",
    "DecimalVerifier",
    "ExactVerifier",
    "LetterSetVerifier",
    "ListVerifier",
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
    "verdicts",
]
