"""The checks that conftest.py turns on are really on: without them, every shape in an annotation is a comment."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import jaxtyping
import pytest
import torch

import vlcal.functional
from vlcal.functional.advantages import group_centered
from vlcal.functional.masked import masked_mean
from vlcal.rewards import AccuracyReward

MODULES = [module.name for module in pkgutil.iter_modules(vlcal.functional.__path__, "vlcal.functional.")]


def test_a_wrong_number_of_dimensions_is_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="rewards"):
        group_centered(torch.zeros(2, 2), 2)


def test_axes_of_one_name_and_different_lengths_are_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="mask"):
        masked_mean(torch.zeros(3), torch.ones(2, dtype=torch.bool))


def test_an_int_may_stand_for_a_float() -> None:
    assert AccuracyReward(weight=2).weight == 2


@pytest.mark.usefixtures("shapes_unchecked")
def test_the_checks_can_be_turned_off_for_one_test() -> None:
    assert group_centered(torch.zeros(2, 2), 2).count_nonzero() == 0


@pytest.mark.parametrize("name", MODULES)
def test_checked_functions_keep_their_doctests(name: str) -> None:
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == name and ">>> " in (value.__doc__ or "")
    }
    found = {test.name.removeprefix(f"{name}.") for test in doctest.DocTestFinder().find(module) if test.examples}
    assert public <= found


def test_users_do_not_pay_for_the_checks() -> None:
    command = "import sys, vlcal.functional; sys.exit('beartype' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_the_package_itself_imports_nothing_heavy() -> None:
    command = "import sys, vlcal; sys.exit(bool({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_a_worker_has_one_thread() -> None:
    assert torch.get_num_threads() == 1
