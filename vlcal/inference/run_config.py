"""The config of a run: the policy that it describes, and how its responses are asked for and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentError, auto_cli
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vlcal.data.images import ImageSize
from vlcal.errors import UserError, one_line
from vlcal.own_parts import refused_import, restrict_imports
from vlcal.policy import PolicySpec
from vlcal.recipe import recipes_of
from vlcal.training.pipeline import Pipeline
from vlcal.training.sampling import Sampling

Made = TypeVar("Made")


class RunConfig:
    """A config file over the recipe that it names; nothing of it is made before it is asked for.

    Args:
        path: The file given to `vlcal fit --config`, or what a run or an export wrote.

    Raises:
        UserError: If it is not there or no YAML.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"`config` must be the YAML file of a run; {path} is not there.")
        self.path = path
        files = [*recipes_of(path), path]
        try:
            self._settings = _laid_over(*(OmegaConf.load(file) for file in files))
        except (OmegaConfBaseException, YAMLError, ValueError) as error:
            raise self._refusal("be the YAML file of a run", error) from error

    def part(self, key: str) -> Any:
        """The settings below a key, references resolved; None where there are none.

        Raises:
            UserError: If a reference leads nowhere.
        """
        try:
            found = OmegaConf.select(self._settings, key)
            return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
        except (OmegaConfBaseException, ValueError) as error:
            raise self._refusal(f"have settings at {key}", error) from error

    @property
    def states_confidences(self) -> bool:
        """Whether the run reads responses: a warm-up does not."""
        return self.part("model.init_args.pipeline") is not None

    def policy(self) -> PolicySpec:
        """The policy.

        Raises:
            UserError: If the config describes none.
        """
        settings = self.part("model.init_args.policy")
        return self._made("describe a policy at model.init_args.policy", _given_policy, policy=settings or {})

    def asking(self) -> tuple[Pipeline, Sampling, ImageSize]:
        """How responses are read, how they are sampled, and the bounds on the pixels of their images.

        Raises:
            UserError: If the config describes no pipeline.
        """
        return self._made(
            "describe a pipeline at model.init_args.pipeline",
            _given_asking,
            pipeline=self.part("model.init_args.pipeline") or {},
            sampling=self.part("model.init_args.sampling"),
            image_size=self.part("data.init_args.image_size"),
        )

    def checkpoint_folders(self) -> Iterator[str]:
        """Where the run writes its checkpoints."""
        for callback in self.part("trainer.callbacks") or []:
            if folder := (callback.get("init_args") or {}).get("dirpath"):
                yield folder

    def places(self, name: str, bases: list[Path]) -> list[Path]:
        """Where a path of the config may be now: below a base that the folder of the run became, or where it was."""
        root, path = self.part("trainer.default_root_dir"), Path(name)
        if root is None or not path.is_relative_to(root):
            return [path]
        return [*(base / path.relative_to(root) for base in bases), path]

    def _made(self, rule: str, make: Callable[..., Made], **settings: Any) -> Made:
        """Parts as they are described; those that are None are left to their defaults."""
        given = {name: json.dumps(value) for name, value in settings.items() if value is not None}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        restrict_imports()
        try:
            made: Made = auto_cli(make, args=words, as_positional=False, exit_on_error=False)
        except (ArgumentError, ValueError) as error:
            raise self._refusal(rule, error) from error
        return made

    def _refusal(self, rule: str, error: Exception) -> UserError:
        reason = refused_import(str(error)) or one_line(error)
        return UserError(f"`config` must {rule}; {self.path} does not: {reason}")


def _laid_over(*settings: Any) -> Any:
    """Later settings over earlier ones, as `vlcal fit` reads them: another class has its own defaults."""
    whole, *others = settings
    for other in others:
        _forget_other_classes(whole, other)
        whole = OmegaConf.merge(whole, other)
    return whole


def _forget_other_classes(before: Any, now: Any) -> None:
    """Take away, in place, the settings of every part that another class stands in for now."""
    if not (OmegaConf.is_dict(before) and OmegaConf.is_dict(now)):
        return
    named, given = now.get("class_path"), before.get("class_path")
    if named is not None and given is not None and named.rpartition(".")[2] != given.rpartition(".")[2]:
        before.pop("init_args", None)
    for key in now.keys() & before.keys():
        if not (OmegaConf.is_missing(before, key) or OmegaConf.is_interpolation(before, key)):
            _forget_other_classes(before[key], now[key])


def _given_policy(policy: PolicySpec) -> PolicySpec:
    return policy


def _given_asking(
    pipeline: Pipeline, sampling: Sampling = Sampling(), image_size: ImageSize = ImageSize()
) -> tuple[Pipeline, Sampling, ImageSize]:
    return pipeline, sampling, image_size
