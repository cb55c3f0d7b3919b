"""Vision-language models that say how sure they are of what they see and of what they conclude."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vlcal")
except PackageNotFoundError:  # `python cli.py` in a checkout that was never installed: there is no metadata to read
    __version__ = "0+unknown"

__all__ = ["__version__"]
