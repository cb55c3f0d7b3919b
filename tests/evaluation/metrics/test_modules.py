from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.metrics.modules import CalibrationMetrics


def test_batches_add_up_to_the_functions_on_all_of_it() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(90), rng.integers(0, 2, 90).astype(float)
    confidence[3] = math.nan
    module = CalibrationMetrics()
    for rows in np.array_split(np.arange(90), 4):
        module.update(torch.tensor(confidence[rows]), torch.tensor(correct[rows]))

    found = module.compute()

    assert list(found) == list(METRICS)
    for name, value in found.items():
        assert float(value) == pytest.approx(METRICS[name](confidence, correct), abs=1e-6)


def test_ranks_join_their_rows_and_a_reset_forgets_them() -> None:
    # What torchmetrics does with the states of all ranks is their declared reduction.
    module = CalibrationMetrics()
    module.update(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]))
    other = pickle.loads(pickle.dumps(module))
    other.merge_state(module)

    assert float(other.compute()["accuracy"]) == 0.5
    assert len(torch.cat([torch.atleast_1d(part) for part in other.confidence])) == 4
    other.reset()
    other.update(torch.tensor([1.0]), torch.tensor([1.0]))
    assert float(other.compute()["accuracy"]) == 1.0


def test_a_batch_with_a_wrong_scale_is_refused_when_it_comes() -> None:
    with pytest.raises(ValueError, match="`confidence` must lie in .0, 1."):
        CalibrationMetrics().update(torch.tensor([9.0]), torch.tensor([1.0]))
