"""What every test runs under: no network, one thread, checked tensor shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator

# Before torch and transformers are imported, which read these once; commands that tests start inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # every worker has a core to itself: more threads would only wait for each other

import jaxtyping
import pytest
import torch
from hypothesis import settings

SHAPE_CHECKED = (
    "vlcal.functional",
    "vlcal.scores",
    "vlcal.advantages",
    "vlcal.objectives",
    "vlcal.certainty",
    "vlcal.rewards",
    "vlcal.perturbations",
)

# Only modules imported from here on are checked, so nothing above may import vlcal. Never uninstalled: doctests and
# tests that import late are checked like the others.
# An int counts as a float, as it does for mypy.
jaxtyping.install_import_hook(SHAPE_CHECKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# A first call compiles its shape checks, which takes longer than the time limit of an example. The parent keeps
# what Hypothesis chose for CI.
settings.register_profile("vlcal", parent=settings.default, deadline=None)
settings.load_profile("vlcal")


@pytest.fixture
def shapes_unchecked() -> Iterator[None]:
    """Lets a wrong shape or type through to the code's own refusal, which is what a user meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draws that a test does not seed itself are the same in every order and on every worker."""
    torch.manual_seed(0)
