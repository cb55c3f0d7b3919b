"""Parts of the pipeline from `trainer.callbacks`."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from vlcal.advantages import AdvantageReweighter
from vlcal.callbacks.knob_schedule import parts_of
from vlcal.certainty import CertaintyEstimator
from vlcal.errors import UserError
from vlcal.perturbations import Perturbation

FAMILIES: dict[str, type] = {
    "perturbation": Perturbation,
    "certainty": CertaintyEstimator,
    "reweighter": AdvantageReweighter,
}


class UsePart(Callback):
    """Puts a part into the pipeline, in place of the one that `model` was configured with.

    In `trainer.callbacks` it comes before a schedule of the part.

    Args:
        slot: Where it goes: perturbation, certainty or reweighter.
        part: What goes there, of the family of that name.
    """

    def __init__(self, slot: str, part: Perturbation | CertaintyEstimator | AdvantageReweighter) -> None:
        if slot not in FAMILIES:
            raise UserError(f"`slot` must be one of {', '.join(FAMILIES)}; got {slot!r}.")
        if not isinstance(part, FAMILIES[slot]):
            family = FAMILIES[slot].__name__
            raise UserError(
                f"`part` must be a {family} to go into the slot `{slot}`; got {type(part).__name__}. Name the slot of "
                f"its own family, or another part."
            )
        self.slot = slot
        self.part = part

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put the part into its slot."""
        setattr(parts_of(self, pl_module).pipeline, self.slot, self.part)
