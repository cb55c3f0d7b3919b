"""The tests on the pretend device, in a process of their own: torch keeps a device that it was told of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
CLAIMS = ("refusals.py", "steps.py", "stops.py")


def test_every_claim_about_the_pretend_device_holds() -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider"]
    files = [FOLDER / name for name in CLAIMS]

    run = subprocess.run(
        [*command, *files], cwd=FOLDER.parents[1], check=False, capture_output=True, text=True, timeout=600
    )

    assert run.returncode == 0, run.stdout[-10_000:] + run.stderr[-2_000:]
