"""A trained model from its folder, and what it answers."""

from vlcal.inference.model import CalibratedModel, Question, Reply
from vlcal.inference.stored import load

__all__ = ["CalibratedModel", "Question", "Reply", "load"]
