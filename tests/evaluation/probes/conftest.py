"""Studies to probe."""

from tests.evaluation.probes.studies import make_study, splitting

__all__ = ["make_study", "splitting"]
