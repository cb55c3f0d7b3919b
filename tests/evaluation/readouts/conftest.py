"""Studies to read."""

from tests.evaluation.probes.studies import make_study, splitting

__all__ = ["make_study", "splitting"]
