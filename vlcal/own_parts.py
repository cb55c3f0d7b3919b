"""Which classes a config may name: to import a module is to run its code."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from jsonargparse import set_parsing_settings

TRUSTED = "VLCAL_PARTS"  # environment variable with the modules of the user's own, separated by commas
PACKAGES = ("vlcal", "lightning")
_REFUSED = re.compile(r"Importing '(?P<path>[^']+)' is not allowed")


def restrict_imports() -> None:
    """Have configs name classes of vlcal and Lightning, and of the modules in `VLCAL_PARTS`; nothing else is imported.

    The current folder is importable where such a module is named, and last, so that no file in it hides a library.
    """
    trusted = [name.strip() for name in os.environ.get(TRUSTED, "").split(",") if name.strip()]
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*PACKAGES, *trusted])
    if trusted and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def refused_import(error: str) -> str | None:
    """What to say of a class that was not imported, if that is what an error of the parser is about."""
    found = _REFUSED.search(error)
    if found is None:
        return None
    return (
        "`class_path` must name a class of vlcal or of Lightning, or of a module that you trust, since importing one "
        f"runs its code; got {found['path']}. If it is yours, set {TRUSTED}={found['path'].split('.')[0]} in the "
        "environment."
    )
