"""A pretend device, and trainers on it and on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

from tests.device.pretend import DEVICE, PretendDevice, pretend_device


class PretendAccelerator(Accelerator):
    """The pretend device, as Lightning asks for one."""

    def setup_device(self, device: torch.device) -> None: ...

    def teardown(self) -> None: ...

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return devices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device(DEVICE)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "pretend"


@pytest.fixture
def device() -> Iterator[PretendDevice]:
    """A device for one test; what a test makes on it is of no use afterwards."""
    with pretend_device() as made:
        yield made


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., lightning.Trainer]:
    """A trainer of one epoch on the pretend device, or on the CPU."""

    def made(where: str, *callbacks: lightning.Callback, **settings: Any) -> lightning.Trainer:
        if where == "cpu":
            place: dict[str, Any] = {"accelerator": "cpu"}
        else:
            place = {"strategy": SingleDeviceStrategy(torch.device(DEVICE), PretendAccelerator())}
        quiet = {
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
        }
        settings = {"max_epochs": 1, "log_every_n_steps": 1, "logger": False, **quiet, **settings}
        return lightning.Trainer(
            default_root_dir=tmp_path / where, callbacks=list(callbacks), devices=1, **place, **settings
        )

    return made
