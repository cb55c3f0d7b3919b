"""Calibrators from the JSON they were stored as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from vlcal.evaluation.posthoc.base import Calibrator, Identity
from vlcal.evaluation.posthoc.logistic import Beta, Platt, Temperature, WithCertainty
from vlcal.evaluation.posthoc.stepwise import Histogram, Isotonic

CALIBRATORS: Mapping[str, type[Calibrator]] = MappingProxyType(
    {kind.kind: kind for kind in (Identity, Temperature, Platt, Beta, Isotonic, Histogram, WithCertainty)}
)
"""Every kind by its name, in the order in which reports show them."""


def from_json(text: str) -> Calibrator:
    """The fitted calibrator that `to_json` wrote.

    Raises:
        ValueError: If the text is no such JSON, or of a kind that does not exist.
    """
    try:
        stored = json.loads(text)
        kind, settings, parameters = stored["kind"], stored["settings"], stored["parameters"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            "`text` must be a JSON object with `kind`, `settings` and `parameters`, as `to_json` writes it; got "
            f"{text[:80]!r}."
        ) from error
    if kind not in CALIBRATORS:
        raise ValueError(f"`kind` must be one of {', '.join(CALIBRATORS)}; got {kind!r}.")
    try:
        calibrator = CALIBRATORS[kind](**settings)
    except TypeError as error:
        raise ValueError(
            f"`settings` must be what `{CALIBRATORS[kind].__name__}` takes; got {settings!r}. Store it again."
        ) from error
    try:
        return calibrator.restore(parameters)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"`parameters` must map names to lists of numbers; got {parameters!r}. Store it again."
        ) from error
