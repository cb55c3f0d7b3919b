"""What a parser refused, in one line: the key, and the right one that is nearest."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection
from difflib import get_close_matches
from importlib import import_module

from vlcal.errors import causes
from vlcal.own_parts import refused_import

KEY = re.compile(r'Parser key "(\S+)":\n')
PART = re.compile(r"Problem with given class_path '(\S+)':\n")
OPTION = re.compile(r"(?:Group '(?P<group>\S+)' does not accept option|Option) '(?P<option>[^']+)'")
TYPED = re.compile(r"unrecognized arguments: --(?:(?P<group>trainer)\.)?(?P<option>[\w.]+)")
ATTRIBUTE = re.compile(r"module '(?P<module>\S+)' has no attribute '(?P<name>\w+)'")
TOP = ("trainer", "model", "data", "recipe", "seed_everything", "ckpt_path", "weights_only", "config")
UNNAMED = re.compile(
    r"Not a valid subclass of (?P<family>\w+)\. Got value: (?P<given>\{(?!'class_path').*\})$", re.MULTILINE
)
ABSTRACT = re.compile(r"Expected an instantiatable class, but \S+?\.(?P<family>\w+) is abstract$")
GROUPS = {"trainer": "lightning.Trainer"}


def refused_argument(error: BaseException) -> str:
    """The innermost error of a parser and the key it is about, in one line: `model.sampling: ...`.

    jsonargparse wraps an error once for each level of the config, `Parser key "KEY":` and the rest indented below it;
    where a part was chosen, `Problem with given class_path 'PART':` names it.
    """
    wrapped = [str(one) for one in causes(error)]
    untrusted = refused_import(wrapped[-1])
    place = ".".join(dict.fromkeys(match[1] for match in map(KEY.match, wrapped) if match))
    parts = [match[1] for match in map(PART.match, wrapped) if match]
    meant = _meant(wrapped[-1], parts[-1] if parts else None)
    unnamed = UNNAMED.match(wrapped[-1]) or ABSTRACT.match(wrapped[-1])
    if unnamed is not None:
        family, given = unnamed["family"], unnamed.groupdict().get("given", "none")
        return (
            f"`{place}` must say which {family} it is, by `class_path` beside `init_args`; got {given}. Its settings: "
            f"--{place}.help CLASS"
        )
    said = " ".join(f"{place}: {untrusted or wrapped[-1]}".removeprefix(": ").split())
    return said if meant is None else f"{said}; did you mean {meant!r}?"


def _meant(refused: str, part: str | None) -> str | None:
    """The name nearest to the one that was refused, of those that can stand in its place."""
    if (missing := ATTRIBUTE.match(refused)) is not None:
        return _nearest(missing["name"], dir(import_module(missing["module"])))
    if (unknown := OPTION.match(refused) or TYPED.match(refused)) is None:
        return None
    owner = GROUPS.get(unknown["group"] or "", part)
    return _nearest(unknown["option"].split(".")[0], TOP if owner is None else _settings(owner))


def _settings(part: str) -> list[str]:
    """The settings of a class, by its path."""
    module, _, name = part.rpartition(".")
    return [*inspect.signature(getattr(import_module(module), name)).parameters]


def _nearest(name: str, known: Collection[str]) -> str | None:
    likely = get_close_matches(name, [one for one in known if one != name], n=1)
    return likely[0] if likely else None
