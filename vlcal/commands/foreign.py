"""What other libraries say that nobody who runs a command can act on."""

from __future__ import annotations

import logging
import os
import sys
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


class Worded(logging.Filter):
    """Says a message of a logger in other words.

    Args:
        words: The other words, by the message.
    """

    def __init__(self, words: dict[str, str]) -> None:
        super().__init__()
        self._words = words

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every message through, in these words where there are any."""
        said = record.getMessage()
        record.msg, record.args = self._words.get(said, said), None
        return True


MESSAGES: dict[str, tuple[logging.Filter, ...]] = {
    # An advert for a package of kernels from the hub, which vlcal never loads code from.
    "bitsandbytes.backends.cpu.ops": (Muted("Failed to load"),),
    # Another advert, a kind of card that vlcal does not know, and what the config says.
    "lightning.pytorch.utilities.rank_zero": (
        Muted("💡 Tip:", "TPU available", "`Trainer(limit_", "`Trainer(overfit_"),
        Worded({"GPU available: False, used: False": "No GPU was found: the processor computes."}),
    ),
    # It stands in the config, and a run has its own for every prompt.
    "lightning.fabric.utilities.seed": (Muted("Seed set to", "[rank: "),),
    # Of writing a checkpoint, where it does not mean that one is unpickled.
    "lightning.pytorch.trainer.connectors.checkpoint_connector": (Muted("`weights_only` was not set"),),
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
    """Drop these messages and warnings, in this process, and bars where no terminal shows them move."""
    for logger, filters in MESSAGES.items():
        for each in filters:
            logging.getLogger(logger).addFilter(each)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when transformers are imported
    for message, category in WARNINGS:
        warnings.filterwarnings("ignore", message, category)
