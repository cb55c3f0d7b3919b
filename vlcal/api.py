"""From Python: training as `vlcal init` and `fit` do, scoring as `vlcal score` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from vlcal.evaluation.metrics import ScoredResponses
from vlcal.evaluation.metrics.table import Estimate, metric_table
from vlcal.files import write_whole

if TYPE_CHECKING:
    from vlcal.inference import CalibratedModel

NO_SETTINGS: Mapping[str, Any] = {}


def fit(
    model: str | Path, data: str | Path, folder: str | Path = "runs/model", settings: Mapping[str, Any] = NO_SETTINGS
) -> CalibratedModel:
    """The model with adapters trained on a folder or file of questions, ready to be asked.

    Args:
        model: Checkpoint to train, a folder or a name on the hub.
        data: What `vlcal init` reads: a table with the columns image, question and answer, or the folder of one.
        folder: Of the run, which must be new; its experiment.yaml says what was assumed about the data, its
            settings.yaml what was changed; `vlcal.load` gives the model again.
        settings: Keys of the config with other values than the recipe has, such as {"trainer.max_epochs": 3}.

    Raises:
        UserError: If the data cannot be read, the run is there already, or a setting is not what it should be.
    """
    from omegaconf import OmegaConf

    from vlcal.commands.init import init
    from vlcal.commands.trainer import figures_of
    from vlcal.inference import load

    config, changes = (Path(folder) / name for name in ("experiment.yaml", "settings.yaml"))
    init(Path(data), model=str(model), output=config)
    chosen = OmegaConf.create()
    for key, value in {"trainer.default_root_dir": str(folder), **settings}.items():
        OmegaConf.update(chosen, key, value)
    write_whole(changes, OmegaConf.to_yaml(chosen))
    figures_of(["fit", "--config", str(config), "--config", str(changes)])
    return load(folder)


def score(
    confidence: ArrayLike,
    correct: ArrayLike,
    question: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Mapping[str, Estimate]:
    """Every metric by name, each with its value and the ends of its 95 % interval.

    >>> found = score([0.9, 0.8, 0.3], [1, 1, 0], draws=0)
    >>> round(found["brier"].value, 4), found["auroc"].value
    (0.0467, 1.0)

    Args:
        confidence: Stated confidence of each response, in [0, 1]; NaN where none was stated, which is scored as wrong
            and unsure.
        correct: Its outcome, in [0, 1]; NaN where unknown.
        question: Id of its question, where several responses answer one; they are resampled together.
        draws: Bootstrap draws of the questions; 0 leaves the intervals out.
        seed: Of the draws.

    Raises:
        UserError: If the lengths differ, or something lies outside [0, 1].
    """
    stated, outcome = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    names = np.arange(len(stated)) if question is None else np.asarray(question)
    responses = ScoredResponses(stated, outcome, names.astype(np.str_), np.full(len(stated), "all"))
    return metric_table(responses, draws, seed).estimates
