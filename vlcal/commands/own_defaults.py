"""A part that a config names starts from its own defaults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import _typehints
from jsonargparse._util import import_object


@contextmanager
def own_defaults() -> Iterator[None]:
    """A context in which a class named in place of another one takes over none of its settings.

    jsonargparse keeps those whose name and type the new class knows too: noise in place of a mask of strength 0.8 would
    have that strength, whatever its own default. It has no setting for this:
    https://github.com/mauvilsa/jsonargparse/issues/460
    """
    kept = _typehints.discard_init_args_on_class_path_change
    _typehints.discard_init_args_on_class_path_change = _discard_settings_of_another_class
    try:
        yield
    finally:
        _typehints.discard_init_args_on_class_path_change = kept


def _discard_settings_of_another_class(parser_or_action: Any, prev_val: Any, value: Any) -> None:
    """Empty the settings of the class that was named before, in place, if another one is named now."""
    if not prev_val or "init_args" not in prev_val:
        return
    before, now = (import_object(spec["class_path"]) for spec in (prev_val, value))
    if before is not now:
        settings: dict[str, Any] = vars(_typehints.subclass_spec_as_namespace(prev_val).init_args)  # type: ignore[no-untyped-call,assignment]
        settings.clear()
