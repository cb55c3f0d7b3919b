"""Studies to probe."""

from tests.probes.studies import make_study, splitting

__all__ = ["make_study", "splitting"]
