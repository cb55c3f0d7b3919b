"""Signals that tell a run to end: it saves behind the step that runs, and may have itself queued again."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from types import FrameType

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer

from vlcal.training.ranks import from_all

logger = logging.getLogger(__name__)


class EndSignals:
    """Takes note of SIGTERM and of the signal ahead of a time limit, SIGUSR1, and of neither does anything by itself.

    A handler runs between any two instructions: between two updates of a step, or inside an exchange among ranks. What
    it would save there is no state to go on from.

    Attributes:
        agreed: The signal that all ranks end by; None while none was told to.
    """

    def __init__(self) -> None:
        self.agreed: int | None = None
        self._noted: set[int] = set()
        self._warning: int = signal.SIGUSR1
        self._requeues = False

    def listen(self, trainer: Trainer) -> None:
        """Put handlers in the place of those of Lightning, which puts back the earlier ones at the end of the run."""
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            self._requeues = True
            self._warning = environment.requeue_signal or self._warning
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, self._warning):
                signal.signal(number, self._note)

    def agree(self) -> bool:
        """Whether any rank was told to end; every rank must ask at the same point."""
        told = set[int]().union(*from_all(self._noted))
        if told and self.agreed is None:
            self.agreed = self._warning if self._warning in told else min(told)
        return self.agreed is not None

    def requeue(self) -> None:
        """Have SLURM queue the job again, where it announced the end of its time and Lightning is set to requeue.

        Not for SIGTERM: a job that is preempted is queued again by SLURM, and one that is cancelled shall end.
        """
        if not self._requeues or self.agreed != self._warning:
            return
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        command = ["scontrol", "requeue", f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            logger.error("The run is saved and not queued again: %s failed, %s", " ".join(command), str(said).strip())
        else:
            logger.warning("The run is saved and queued again: %s.", " ".join(command))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.add(number)
