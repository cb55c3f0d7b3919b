"""What a user can set: every part by its class path, with readable defaults and help."""

from __future__ import annotations

import inspect
import json
import warnings
from abc import ABC
from contextlib import redirect_stdout
from io import StringIO

import pytest
from jsonargparse import ArgumentParser

from vlcal.advantages import AdvantageEstimator, AdvantageReweighter
from vlcal.certainty import CertaintyEstimator, KLEntropyCertainty, SoftLabeler
from vlcal.objectives import (
    ClippedSurrogate,
    ConfidenceObjective,
    ExpectedScore,
    LossAggregation,
    PolicyObjective,
    ReferenceKL,
    SampledReferenceKL,
    SamplerCorrection,
)
from vlcal.perturbations import Mixture, Perturbation
from vlcal.rewards import CalibrationReward, Reward
from vlcal.scores import OverallConfidence, ProperScore

FAMILIES: list[type[ABC]] = [
    AdvantageEstimator,
    AdvantageReweighter,
    CertaintyEstimator,
    ConfidenceObjective,
    LossAggregation,
    OverallConfidence,
    Perturbation,
    PolicyObjective,
    ProperScore,
    ReferenceKL,
    Reward,
    SamplerCorrection,
    SoftLabeler,
]
NEEDED = {
    "Mixture": {
        "members": [{"class_path": "vlcal.perturbations.PatchMask"}, {"class_path": "vlcal.perturbations.Blur"}],
        "weights": [1.0, 2.0],
    },
    "SequenceMeanTokenSumNorm": {"length": 64},
}


def members(family: type[ABC]) -> list[type]:
    """Every concrete class of the family that the package ships, in its public spelling."""
    found = [deeper for member in family.__subclasses__() for deeper in (member, *members(member))]
    return [member for member in found if member.__module__.startswith("vlcal.") and not inspect.isabstract(member)]


PAIRS = [pytest.param(family, member, id=member.__name__) for family in FAMILIES for member in members(family)]


def part_parser(family: type[ABC]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(family, "part")
    return parser


def chosen(member: type) -> dict[str, object]:
    return {"class_path": f"{member.__module__}.{member.__name__}", "init_args": NEEDED.get(member.__name__, {})}


@pytest.mark.parametrize(("family", "member"), PAIRS)
def test_a_dumped_part_loads_as_itself(family: type[ABC], member: type) -> None:
    parser = part_parser(family)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="(?s).*Unable to serialize")
        dumped = parser.dump(parser.parse_args([f"--part={json.dumps(chosen(member))}"]))
        again = parser.parse_string(dumped)
    assert parser.dump(again) == dumped
    assert type(parser.instantiate(again).part) is member


@pytest.mark.parametrize(("family", "member"), PAIRS)
def test_every_setting_is_explained_and_there_are_at_most_seven(family: type[ABC], member: type) -> None:
    settings = [name for name in inspect.signature(member).parameters if name != "self"]
    documented = inspect.getdoc(member) or ""
    assert len(settings) <= 7
    assert all(f"    {name}: " in documented for name in settings)


@pytest.mark.parametrize(("family", "member"), PAIRS)
def test_two_instances_share_no_default(family: type[ABC], member: type) -> None:
    if any(each.default is each.empty for each in inspect.signature(member).parameters.values()):
        pytest.skip("needs settings")
    one, other = member(), member()
    defaults = [part for part in vars(one).values() if type(part).__module__.startswith("vlcal.")]

    assert not {id(part) for part in defaults} & {id(part) for part in vars(other).values()}


def test_defaults_that_are_parts_dump_as_class_paths() -> None:
    parser = ArgumentParser(exit_on_error=False)
    for name, member in {
        "certainty": KLEntropyCertainty,
        "objective": ClippedSurrogate,
        "confidence": ExpectedScore,
        "reference_kl": SampledReferenceKL,
        "reward": CalibrationReward,
    }.items():
        parser.add_class_arguments(member, name)
    defaults = parser.parse_args([])
    assert defaults.certainty.labeler.class_path == "vlcal.certainty.BatchLabeler"
    assert defaults.objective.aggregation.class_path == "vlcal.objectives.TokenMean"
    assert defaults.confidence.calibration.class_path == "vlcal.scores.Brier"
    assert defaults.reference_kl.aggregation.class_path == "vlcal.objectives.TokenMean"
    assert defaults.reward.score.class_path == "vlcal.scores.Brier"


def test_one_setting_of_one_part_is_reached_from_the_shell() -> None:
    parser = part_parser(Reward)
    config = parser.parse_args(["--part=CalibrationReward", "--part.score=LogScore", "--part.score.floor=0.01"])
    reward = parser.instantiate(config).part
    assert isinstance(reward, CalibrationReward)
    assert reward.score.worst == pytest.approx(4.60517)


def test_help_gives_meaning_and_range_of_a_setting() -> None:
    with redirect_stdout(StringIO()) as shown, pytest.raises(SystemExit):
        part_parser(Perturbation).parse_args(["--part.help=PatchMask"])
    assert "Share of patches masked, in [0, 1]" in " ".join(shown.getvalue().split())


def test_a_mixture_is_written_as_a_list_of_parts() -> None:
    parser = part_parser(Perturbation)
    mixture = parser.instantiate(parser.parse_args([f"--part={json.dumps(chosen(Mixture))}"])).part
    assert [type(member).__name__ for member in mixture.members] == ["PatchMask", "Blur"]
    assert mixture.weights == [1.0, 2.0]
