"""The place of a run in a checkpoint, in the forms from which Lightning goes on exactly.

Lightning resumes by comparing counters, of which each moment of saving leaves others behind: of some it would take the
next epoch for begun, of others it would leave out a validation or count a step twice. Two forms resume as they should,
whether a run is limited by epochs or by steps: the end of a batch, and the start of the validation behind one.
"""

from __future__ import annotations

from typing import Any


def settle(loops: dict[str, Any], batches: float, validation_due: bool) -> None:
    """Bring the state of a fit loop into one of the two forms; before the first batch it is left as it is.

    Args:
        loops: As Lightning saves it, with counters by the names of loops.
        batches: Of an epoch.
        validation_due: Whether a validation is due behind the last batch, or under way.
    """
    counted, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
    done, place, epoch = counted["total"]["processed"], counted["current"]["processed"], epochs["current"]["ready"]
    if not done or (not place and batches == float("inf")):
        return
    if not place:  # an epoch has begun, and none of its batches
        place, epoch = int(batches), epoch - 1
    behind = 0 if validation_due else 1  # batches that are processed and not yet completed
    counted["total"] = _counters(done, done, done - behind)
    counted["current"] = _counters(place, place, place - behind)
    counted["is_last_batch"] = counted["is_last_batch"] or place >= batches
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = done - 1
    for span in ("total", "current"):
        epochs[span] = _counters(epoch, epoch - 1, epoch - 1)
    validated = loops["epoch_loop.val_loop.batch_progress"]
    validated["total"] = _counters(int(validation_due), 0, 0)  # one that is begun and not processed is started anew
    validated["current"] = _counters(0, 0, 0)


def _counters(started: int, processed: int, completed: int) -> dict[str, int]:
    return {"ready": started, "started": started, "processed": processed, "completed": completed}
