"""The event files of TensorBoard, which a run that starts anew or resumes goes on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader


def tensorboards(trainer: Trainer) -> list[Any]:
    """The TensorBoard writers of a run; none on the ranks that write nothing."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def go_on(writer: Any, done: int, validation_due: bool, last: Mapping[str, float]) -> None:
    """Hide what an earlier fit logged in the folder of a writer and this one logs again, and log what it could not.

    TensorBoard hides by steps alone. So that nothing else is hidden, what stays of the first such step is written
    again: evaluations by other commands; training, where the validation behind it is to come.

    Args:
        writer: Of TensorBoard.
        done: Steps the weights have learned from.
        validation_due: Whether the validation behind the last of them comes first.
        last: Figures of the last of them, which a process that ended behind its checkpoint had not logged.
    """
    writer.flush()
    files = sorted(Path(writer.log_dir).glob("events.*"))
    fitted = [file for file in files if any(_of("train/", event) for event in _events(file))]
    if not (fitted or last):
        return
    step = done - 1 if validation_due else done
    trained = max((_ahead_of_validation(file, step) for file in fitted if validation_due), key=len, default=[])
    evaluated = [event for file in files if file not in fitted for event in _events(file) if event.step == step]
    writer.close()  # TensorBoard takes what to hide from the first entry of a file
    writer.purge_step = step
    for event in trained + evaluated:
        writer._get_file_writer().add_event(event, walltime=event.wall_time)
    if not any(_names(event) & last.keys() for file in fitted for event in _events(file) if event.step == done - 1):
        for name, value in last.items():
            writer.add_scalar(name, value, done - 1)
    writer.flush()


def _ahead_of_validation(file: Path, step: int) -> list[Any]:
    """What a file holds of the training of a step."""
    events = (event for event in _events(file) if event.step == step)
    return [*takewhile(lambda event: not _of("val/", event), events)]


def _events(file: Path) -> Iterator[Any]:
    """What was logged, without the entries on the file itself."""
    return (event for event in LegacyEventFileLoader(str(file)).Load() if event.HasField("summary"))


def _of(stage: str, event: Any) -> bool:
    return any(name.startswith(stage) for name in _names(event))


def _names(event: Any) -> set[str]:
    return {value.tag for value in event.summary.value}
