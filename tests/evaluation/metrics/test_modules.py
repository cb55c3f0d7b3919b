from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vlcal.evaluation.metrics import METRICS
from vlcal.evaluation.metrics.modules import CalibrationMetrics

RANK = """
import json, sys, torch
from vlcal.evaluation.metrics.modules import CalibrationMetrics
folder, rank, rows = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
torch.distributed.init_process_group("gloo", folder + "/meeting", rank=rank, world_size=2)
module = CalibrationMetrics()
for confidence, correct in rows:
    module.update(torch.tensor([confidence]), torch.tensor([correct]))
print(json.dumps({name: float(value) for name, value in module.compute().items()}))
"""


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


def test_ranks_join_their_rows_however_many_each_has(tmp_path: Path) -> None:
    parts: list[list[tuple[float, float]]] = [[(0.5, 0.0), (1.0, 1.0), (0.9, 0.0)], [(0.2, 1.0)]]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, tmp_path.as_uri(), str(rank), json.dumps(part)], stdout=subprocess.PIPE
        )
        for rank, part in enumerate(parts)
    ]

    found = [json.loads(rank.communicate(timeout=120)[0]) for rank in ranks]

    confidence, correct = np.array(parts[0] + parts[1]).T
    assert found[0] == found[1]
    assert list(found[0]) == list(METRICS)
    for name, value in found[0].items():
        assert value == pytest.approx(METRICS[name](confidence, correct), abs=1e-6, nan_ok=True)


def test_a_reset_forgets_all_rows() -> None:
    module = CalibrationMetrics()
    module.update(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]))

    module.reset()
    module.update(torch.tensor([1.0]), torch.tensor([1.0]))

    assert float(module.compute()["accuracy"]) == 1.0


def test_a_batch_with_a_wrong_scale_is_refused_when_it_comes() -> None:
    with pytest.raises(ValueError, match="`confidence` must lie in .0, 1."):
        CalibrationMetrics().update(torch.tensor([9.0]), torch.tensor([1.0]))
