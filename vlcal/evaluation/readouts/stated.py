"""What the response says of itself, and what was measured while it was read."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from vlcal.evaluation.levels import levels_at, stated_places
from vlcal.evaluation.readouts.base import Readout
from vlcal.evaluation.study import Study


class StatedLevel(Readout):
    """The number that the response states."""

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        said = study.experience.responses
        return {"overall": said.overall, "visual": said.visual, "reasoning": said.reasoning}


class ExpectedLevel(Readout):
    """The mean of all levels, each as likely as the policy is to state it there at temperature 1.

    Finer than the stated level, and free of the noise of sampling one. A level of several tokens is exact: 10 where 1
    and 0 are tokens of their own, and 1 the less likely for it. NaN in a response that does not state both.
    """

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        return levels_at(study, stated_places(study)).expected(study)


class MeasuredCertainty(Readout):
    """The label-free visual certainty: how much the vision part hangs on the image, and how sure it was."""

    def __call__(self, study: Study) -> Mapping[str, Float[Tensor, " N"]]:
        return {"visual": study.experience.certainty.response}
