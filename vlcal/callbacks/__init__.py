"""Observers, whose removal changes nothing that is learned, a guard, and schedulers, which move one knob each."""

from vlcal.callbacks.bounds_guard import BoundsGuard
from vlcal.callbacks.certainty_monitor import CertaintyMonitor
from vlcal.callbacks.collapse_watch import CollapseWatch
from vlcal.callbacks.completion_table import CompletionTable
from vlcal.callbacks.knob_schedule import KnobSchedule, NumberSchedule
from vlcal.callbacks.model_export import ModelExport
from vlcal.callbacks.observer import Observer
from vlcal.callbacks.prediction_writer import PredictionWriter
from vlcal.callbacks.progress_bar import ProgressBar
from vlcal.callbacks.reliability_diagram import ReliabilityDiagram
from vlcal.callbacks.schedules import (
    CounterfactualSchedule,
    MixtureSchedule,
    RewardWeightSchedule,
    ReweightingSchedule,
    SharpnessSchedule,
    StrengthSchedule,
)
from vlcal.callbacks.study_writer import ProbeWriter, ReadoutWriter, StudyWriter
from vlcal.callbacks.throughput import Throughput
from vlcal.callbacks.use_part import UsePart

__all__ = [
    "BoundsGuard",
    "CertaintyMonitor",
    "CollapseWatch",
    "CompletionTable",
    "CounterfactualSchedule",
    "KnobSchedule",
    "MixtureSchedule",
    "ModelExport",
    "NumberSchedule",
    "Observer",
    "PredictionWriter",
    "ProbeWriter",
    "ProgressBar",
    "ReadoutWriter",
    "ReliabilityDiagram",
    "RewardWeightSchedule",
    "ReweightingSchedule",
    "SharpnessSchedule",
    "StrengthSchedule",
    "StudyWriter",
    "Throughput",
    "UsePart",
]
