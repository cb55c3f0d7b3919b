"""The version of the package, as its metadata has it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("vlcal")
except PackageNotFoundError:  # `python cli.py` in a checkout that was never installed: there is no metadata to read
    VERSION = "0+unknown"
