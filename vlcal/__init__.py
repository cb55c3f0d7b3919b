"""Vision-language models that say how sure they are of what they see and of what they conclude.

`fit` trains a model on your questions, `load` gives a trained model that answers questions, `score` says how good
confidences are; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlcal.version import VERSION

if TYPE_CHECKING:
    from vlcal.api import fit, score
    from vlcal.inference import CalibratedModel, Question, Reply, load

__version__ = VERSION

__all__ = ["CalibratedModel", "Question", "Reply", "__version__", "fit", "load", "score"]


def __getattr__(name: str) -> Any:
    """What `__all__` promises, imported now; the import of vlcal itself loads no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("vlcal.api" if name in ("fit", "score") else "vlcal.inference"), name)
