"""What other libraries say that nobody who runs a command can act on."""

from __future__ import annotations

import logging
import warnings


class Muted(logging.Filter):
    """Drops the messages of a logger that start in one of some ways.

    Args:
        starts: How they start.
    """

    def __init__(self, *starts: str) -> None:
        super().__init__()
        self._starts = starts

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is let through."""
        return not record.getMessage().startswith(self._starts)


MESSAGES = {
    # An advert for a package of kernels from the hub, which vlcal never loads code from.
    "bitsandbytes.backends.cpu.ops": Muted("Failed to load"),
    # Another advert, a kind of card that vlcal does not know, and what the config says.
    "lightning.pytorch.utilities.rank_zero": Muted("💡 Tip:", "TPU available", "`Trainer(limit_", "`Trainer(overfit_"),
    # Of writing a checkpoint, where it does not mean that one is unpickled.
    "lightning.pytorch.trainer.connectors.checkpoint_connector": Muted("`weights_only` was not set"),
}
WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    # Where a module moves its weights itself, Lightning asks it to save them from before, whatever is meant.
    ("Using ModelCheckpoint with manual optimization", UserWarning),
    # https://github.com/Lightning-AI/pytorch-lightning/issues/21326
    ("`isinstance.treespec, LeafSpec.` is deprecated", FutureWarning),
    # Of the digits world, whose scenes are drawn in memory; images of files have workers by `data.workers`.
    ("The '.*' does not have many workers", UserWarning),
    # peft asks a transformers model by the property's old name.
    ("`is_gradient_checkpointing` is deprecated", FutureWarning),
)


def mute() -> None:
    """Drop these messages and warnings, in this process."""
    for logger, muted in MESSAGES.items():
        logging.getLogger(logger).addFilter(muted)
    for message, category in WARNINGS:
        warnings.filterwarnings("ignore", message, category)
