"""What the parts of every family share: defaults that are never shared, settings to read back, a declared memory."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import PurePath
from typing import Any, TypeVar, cast

Constructor = TypeVar("Constructor", bound=Callable[..., None])
PLAIN = (bool, int, float, str, type(None))


def fresh_defaults(constructor: Constructor) -> Constructor:
    """The constructor with a copy of its own of each default that is left out.

    A default part stands in the signature, where `--help` and `--print_config` read it. Shared by all instances, a
    strength that a schedule sets, or whatever the part remembers, would leak from one pipeline into the next.
    """
    signature = inspect.signature(constructor)
    defaults = {name: each.default for name, each in signature.parameters.items() if each.default is not each.empty}

    @wraps(constructor)
    def construct(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs).arguments
        own = {name: copy.deepcopy(default) for name, default in defaults.items() if name not in given}
        constructor(*args, **kwargs, **own)

    return cast(Constructor, construct)


def settings_of(name: str, part: object) -> dict[str, Any]:
    """What a part was made with, as plain values by dotted names: `name` is its class, `name.rank` one of its settings.

    Read back from the attributes that a part keeps its settings in, named as its constructor names them; a setting that
    it keeps elsewhere is left out.

    >>> settings_of("score", [0.5, None]), settings_of("scores", {"a": 1})
    ({'score': [0.5, None]}, {'scores.a': 1})
    """
    if isinstance(part, PLAIN):
        return {name: part}
    if isinstance(part, list | tuple) and all(isinstance(value, PLAIN) for value in part):
        return {name: [*part]}
    if isinstance(part, PurePath):
        return {name: str(part)}
    found: dict[str, Any] = {}
    if isinstance(part, list | tuple):
        held: Mapping[Any, Any] = dict(enumerate(part))
    elif isinstance(part, Mapping):
        held = part
    else:
        found[name] = f"{type(part).__module__}.{type(part).__qualname__}"
        named = inspect.signature(type(part)).parameters if inspect.isfunction(type(part).__init__) else ()
        held = {key: getattr(part, key) for key in named if hasattr(part, key)}
    for key, value in held.items():
        found |= settings_of(f"{name}.{key}", value)
    return found


class Stateful(ABC):
    """A part that remembers something between steps.

    What it remembers is saved in checkpoints, restored from them, and put back after a validation. A part that holds
    other parts hands on theirs with `states_of` and `load_states`.
    """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What the part remembers: tensors and plain values by name."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember this in place of whatever was remembered; a name that the part does not know is passed over."""


def states_of(parts: Mapping[str, object]) -> dict[str, Any]:
    """What each part remembers, by the part's name; those that remember nothing are left out."""
    states = {name: part.state_dict() for name, part in parts.items() if isinstance(part, Stateful)}
    return {name: state for name, state in states.items() if state}


def load_states(parts: Mapping[str, object], states: Mapping[str, Any]) -> None:
    """Restore what `states_of` gave; a part without a saved state keeps its own."""
    for name, part in parts.items():
        if isinstance(part, Stateful) and name in states:
            part.load_state_dict(states[name])
