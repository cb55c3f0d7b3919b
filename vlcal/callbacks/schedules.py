"""The settings that can be scheduled over training."""

from __future__ import annotations

from collections.abc import Mapping

from vlcal.advantages import UniformReweighter
from vlcal.callbacks.knob_schedule import HasParts, KnobSchedule, NumberSchedule
from vlcal.errors import UserError
from vlcal.objectives import DistilledCertainty
from vlcal.perturbations import Mixture
from vlcal.training.counterfactual import Counterfactuals
from vlcal.training.pipeline import Pipeline


class StrengthSchedule(NumberSchedule):
    """Schedules `pipeline.perturbation.strength`: how strongly the image is perturbed.

    Args:
        start: Strength at first, in [0, 1].
        end: Strength at last, in [0, 1].
        begin: Share of training, in [0, 1], at which it begins to change.
        until: Share of training, in [0, 1] and above `begin`, from which on it is the last one.
    """

    def set(self, module: HasParts, values: list[float]) -> None:
        (module.pipeline.perturbation.strength,) = values

    def get(self, module: HasParts) -> Mapping[str, float]:
        return {"perturbation_strength": module.pipeline.perturbation.strength}


class MixtureSchedule(KnobSchedule):
    """Schedules `pipeline.perturbation.weights`: how often each member of a Mixture is drawn.

    Args:
        start: Weights at first, one per member, at least 0 and not all 0.
        end: Weights at last, likewise.
        begin: Share of training, in [0, 1], at which they begin to change.
        until: Share of training, in [0, 1] and above `begin`, from which on they are the last ones.
    """

    def __init__(self, start: list[float], end: list[float], begin: float = 0.0, until: float = 1.0) -> None:
        super().__init__(start, end, begin, until)

    def set(self, module: HasParts, values: list[float]) -> None:
        mixture(module.pipeline).weights = values

    def get(self, module: HasParts) -> Mapping[str, float]:
        return {f"mixture_weight_{number}": weight for number, weight in enumerate(mixture(module.pipeline).weights)}


class ReweightingSchedule(NumberSchedule):
    """Schedules `pipeline.reweighter.strength`: how far the advantage of a token may be changed.

    Args:
        start: Strength at first, in [0, 1].
        end: Strength at last, in [0, 1].
        begin: Share of training, in [0, 1], at which it begins to change.
        until: Share of training, in [0, 1] and above `begin`, from which on it is the last one.
    """

    def set(self, module: HasParts, values: list[float]) -> None:
        reweighter = module.pipeline.reweighter
        if not hasattr(reweighter, "strength"):
            why = "leaves every advantage as it is" if isinstance(reweighter, UniformReweighter) else "has no range"
            raise UserError(
                f"`pipeline.reweighter` must have a `strength` to be scheduled, and {type(reweighter).__name__} has "
                f"none: it {why}. Use VisualCertaintyReweighter, or take the schedule out of `trainer.callbacks`."
            )
        (reweighter.strength,) = values

    def get(self, module: HasParts) -> Mapping[str, float]:
        return {"reweighting_strength": getattr(module.pipeline.reweighter, "strength", 0.0)}


class SharpnessSchedule(NumberSchedule):
    """Schedules `update.confidence.sharpness` of `DistilledCertainty`: from learning the labels to stating their mean.

    Args:
        start: Sharpness at first, in [0, 1).
        end: Sharpness at last, in [0, 1).
        begin: Share of training, in [0, 1], at which it begins to change.
        until: Share of training, in [0, 1] and above `begin`, from which on it is the last one.
    """

    def set(self, module: HasParts, values: list[float]) -> None:
        (distilled(module).sharpness,) = values

    def get(self, module: HasParts) -> Mapping[str, float]:
        return {"sharpness": distilled(module).sharpness}


class CounterfactualSchedule(NumberSchedule):
    """Schedules `sampling.starts.share`: in how many groups some completions begin with another reading.

    What the confidences learn behind such readings they learn early. A share that ends low lets them end calibrated on
    the policy's own readings, among which fewer are wrong.

    Args:
        start: Share at first, in [0, 1].
        end: Share at last, in [0, 1].
        begin: Share of training, in [0, 1], at which it begins to change.
        until: Share of training, in [0, 1] and above `begin`, from which on it is the last one.
    """

    def set(self, module: HasParts, values: list[float]) -> None:
        (counterfactuals(module).share,) = values

    def get(self, module: HasParts) -> Mapping[str, float]:
        return {"counterfactual_share": counterfactuals(module).share}


class RewardWeightSchedule(KnobSchedule):
    """Schedules the weight of one reward in the total.

    Args:
        name: Name of the reward in `pipeline.rewards`.
        start: Weight at first.
        end: Weight at last.
        begin: Share of training, in [0, 1], at which it begins to change.
        until: Share of training, in [0, 1] and above `begin`, from which on it is the last one.
    """

    def __init__(self, name: str, start: float, end: float, begin: float = 0.0, until: float = 1.0) -> None:
        super().__init__([start], [end], begin, until)
        self.name = name

    def set(self, module: HasParts, values: list[float]) -> None:
        rewards = module.pipeline.rewards
        if self.name not in rewards:
            raise UserError(
                f"`name` must be one of the rewards of the pipeline, {', '.join(rewards)}; got {self.name!r}."
            )
        (rewards[self.name].weight,) = values

    def get(self, module: HasParts) -> Mapping[str, float]:
        return {f"reward_weight_{self.name}": module.pipeline.rewards[self.name].weight}


def mixture(pipeline: Pipeline) -> Mixture:
    """The mixture of a pipeline whose perturbation is one."""
    perturbation = pipeline.perturbation
    if not isinstance(perturbation, Mixture):
        raise UserError(
            f"`pipeline.perturbation` must be a Mixture for its weights to be scheduled; got "
            f"{type(perturbation).__name__}. Put it into a Mixture, or use StrengthSchedule."
        )
    return perturbation


def distilled(module: HasParts) -> DistilledCertainty:
    """The confidence objective of a module, which must be one with a sharpness."""
    confidence = module.update.confidence
    if not isinstance(confidence, DistilledCertainty):
        raise UserError(
            f"`update.confidence` must be a DistilledCertainty for its sharpness to be scheduled; got "
            f"{type(confidence).__name__}."
        )
    return confidence


def counterfactuals(module: HasParts) -> Counterfactuals:
    """How the completions of a module begin, some of which must begin with another reading."""
    starts = module.sampling.starts
    if not isinstance(starts, Counterfactuals):
        raise UserError(
            f"`sampling.starts` must begin some completions with another reading for their share to be scheduled, as "
            f"AlteredReadings does; got {type(starts).__name__}."
        )
    return starts
