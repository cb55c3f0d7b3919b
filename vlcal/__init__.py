"""Vision-language models that say how sure they are of what they see and of what they conclude.

`load` gives a trained model that answers questions, `score` says how good confidences are; both are imported when they
are first used.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlcal.api import score
    from vlcal.inference import CalibratedModel, Question, Reply, load

try:
    __version__ = version("vlcal")
except PackageNotFoundError:  # `python cli.py` in a checkout that was never installed: there is no metadata to read
    __version__ = "0+unknown"

__all__ = ["CalibratedModel", "Question", "Reply", "__version__", "load", "score"]


def __getattr__(name: str) -> Any:
    """What `__all__` promises, imported now; the import of vlcal itself loads no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("vlcal.api" if name == "score" else "vlcal.inference"), name)
