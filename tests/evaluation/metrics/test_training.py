"""The metrics logged in training and validation: by hand, against scikit-learn, over batches and over ranks."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from vlcal.evaluation import metrics
from vlcal.evaluation.metrics.training import CalibrationMetrics, Outcomes, summarize

NAN = math.nan
RANK = """
import json, sys, torch, numpy as np
from vlcal.evaluation.metrics.training import CalibrationMetrics, Outcomes
folder, rank, epochs = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
torch.distributed.init_process_group("gloo", folder + "/meeting", rank=rank, world_size=2)
collected, computed = CalibrationMetrics(), []
for batches in epochs:
    for columns in batches:
        collected.update(Outcomes(*map(np.array, columns)))
    computed.append(collected.compute())
    collected.reset()
print(json.dumps(computed))
"""


def outcomes(correct: Sequence[float], overall: Sequence[float], **columns: Sequence[float]) -> Outcomes:
    """Rows of which the columns that are not given are unknown."""
    given = {"correct": correct, "overall": overall, "well_formed": [1.0] * len(correct), **columns}
    unknown = [NAN] * len(correct)
    columns_given = {f.name: np.array(given.get(f.name, unknown), np.float64) for f in fields(Outcomes)}
    return Outcomes(**{**columns_given, "prompt": np.array(columns.get("prompt", range(len(correct))), np.int64)})


def random_outcomes(rows: int, seed: int) -> Outcomes:
    """Stated tenths, verdicts of 0 and 1, some of each absent, all numbers of a float32."""
    rng = np.random.default_rng(seed)
    columns = {f.name: np.where(rng.random(rows) < 0.1, NAN, rng.integers(0, 11, rows) / 10) for f in fields(Outcomes)}
    verdicts = {name: np.round(columns[name]) for name in ("correct", "perception_correct", "reasoning_correct")}
    numbers = {name: c.astype(np.float32).astype(np.float64) for name, c in {**columns, **verdicts}.items()}
    return Outcomes(**{**numbers, "prompt": seed * 1000 + np.arange(rows) // 2})


def test_metrics_of_four_responses_are_those_worked_out_by_hand() -> None:
    logged = summarize(outcomes([1.0, 0.0, 1.0, 0.0], [1.0, 0.8, 0.6, 0.0], well_formed=[1.0, 1.0, 1.0, 0.0]))

    assert logged["n"] == 4
    assert logged["accuracy"] == 0.5
    assert logged["parse_rate"] == 0.75
    assert logged["mean_overall"] == pytest.approx(0.6)
    # Each alone in its bin: gaps 0, .8, .4, 0.
    assert logged["ece"] == pytest.approx(0.3)
    assert logged["brier"] == pytest.approx((0 + 0.64 + 0.16 + 0) / 4)
    # Of the four pairs of right and wrong only (.6, .8) is the wrong way round.
    assert logged["auroc"] == pytest.approx(0.75)


def test_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    stated = rng.integers(0, 11, 200) / 10
    correct = (rng.random(200) < stated).astype(float)

    logged = summarize(outcomes(correct.tolist(), stated.tolist()))

    assert logged["auroc"] == pytest.approx(roc_auc_score(correct, stated), abs=1e-6)
    assert logged["brier"] == pytest.approx(brier_score_loss(correct, stated), abs=1e-6)


def test_an_absent_confidence_counts_as_wrong_and_unsure() -> None:
    absent = summarize(outcomes([1.0, 1.0, 0.0], [0.9, NAN, 0.2]))
    spelled_out = summarize(outcomes([1.0, 0.0, 0.0], [0.9, 0.5, 0.2]))

    for name in ("ece", "auroc", "brier"):
        assert absent[name] == spelled_out[name]
    assert absent["accuracy"] == pytest.approx(2 / 3)
    assert absent["mean_overall"] == pytest.approx(0.55)


def test_each_confidence_is_compared_with_its_own_outcome() -> None:
    logged = summarize(
        outcomes(
            [1.0, 1.0],
            [0.5, 0.5],
            visual=[1.0, 0.0],
            reasoning=[0.0, 1.0],
            perception_correct=[1.0, 0.0],
            reasoning_correct=[1.0, 0.0],
            certainty=[3.0, -4.0],
            clearness=[0.1, 0.9],
        )
    )

    assert (logged["visual_ece"], logged["visual_brier"], logged["visual_auroc"]) == (0, 0, 1)
    assert (logged["reasoning_ece"], logged["reasoning_brier"], logged["reasoning_auroc"]) == (1, 1, 0)
    assert (logged["certainty_auroc"], logged["clearness_auroc"]) == (1, 0)
    assert (logged["read_rate"], logged["reasoning_rate"]) == (0.5, 0.5)


def test_rows_without_a_known_outcome_are_left_out_of_that_metric_only() -> None:
    logged = summarize(outcomes([1.0, 0.0], [1.0, 1.0], visual=[0.2, 1.0], perception_correct=[NAN, 1.0]))

    assert logged["visual_brier"] == 0
    assert math.isnan(logged["visual_auroc"])
    assert math.isnan(logged["reasoning_ece"])
    assert logged["brier"] == 0.5


def test_the_order_of_responses_changes_nothing() -> None:
    rows = random_outcomes(50, seed=1)
    order = np.random.default_rng(2).permutation(50)
    shuffled = Outcomes(*(column[order] for column in astuple(rows)))

    assert summarize(shuffled) == pytest.approx(summarize(rows))


def test_the_logged_metrics_are_those_of_the_table() -> None:
    rows = random_outcomes(300, seed=3)
    logged = summarize(rows)

    for kind, pair in rows.pairs().items():
        prefix = "" if kind == "overall" else f"{kind}_"
        assert logged[f"{prefix}ece"] == metrics.ece_equal_width(*pair) == metrics.reliability_curve(*pair).ece
        assert logged[f"{prefix}auroc"] == metrics.auroc(*pair)
        assert logged[f"{prefix}brier"] == metrics.brier(*pair)


@pytest.mark.parametrize("bad", [[], [NAN, NAN]])
def test_nothing_known_gives_nothing_known(bad: list[float]) -> None:
    rows = outcomes(bad, [0.5] * len(bad), well_formed=[0.0] * len(bad))

    assert math.isnan(summarize(rows)["ece"]) and math.isnan(summarize(rows)["auroc"])


def test_batches_join_in_order() -> None:
    first, second = outcomes([1.0], [0.1]), outcomes([0.0, 1.0], [0.2, 0.3])

    joined = Outcomes.join([first, second])

    assert len(joined) == 3
    assert joined.overall.tolist() == [0.1, 0.2, 0.3]


def test_partly_right_answers_count_in_calibration_as_far_as_they_are_right() -> None:
    rows = outcomes([0.5, 0.0], [0.5, 0.0])

    assert summarize(rows)["ece"] == 0
    assert summarize(replace(rows, correct=rows.correct * 0))["ece"] == pytest.approx(0.25)


def test_the_auroc_within_prompts_compares_responses_to_the_same_prompt_alone() -> None:
    # Prompt 1 has its right response ahead, prompt 2 a tie, prompt 3 no pair; across prompts all are the wrong way.
    rows = outcomes([1.0, 0.0, 1.0, 0.0, 0.0], [0.2, 0.1, 0.5, 0.5, 0.9], prompt=[1, 1, 2, 2, 3])

    assert summarize(rows)["within_auroc"] == 0.75
    assert "within_auroc" not in summarize(replace(rows, prompt=np.arange(5)))


def test_collected_batches_give_the_metrics_of_all_of_them() -> None:
    batches = [random_outcomes(rows, seed=rows) for rows in (20, 1, 30)]
    collected = CalibrationMetrics()
    for batch in batches:
        collected.update(batch)

    assert collected.compute() == pytest.approx(summarize(Outcomes.join(batches)), nan_ok=True)


def test_a_reset_forgets_all_rows() -> None:
    collected = CalibrationMetrics()
    collected.update(outcomes([0.0, 1.0], [0.5, 1.0]))

    collected.reset()
    collected.update(outcomes([1.0], [1.0]))

    assert (collected.compute()["n"], collected.compute()["accuracy"]) == (1, 1)


def test_ranks_join_their_rows_and_count_a_repeated_prompt_once(tmp_path: Path) -> None:
    first, second, third = (random_outcomes(rows, seed=rows) for rows in (4, 3, 2))
    # A distributed sampler gives the last rank prompts of the first, where there are too few.
    uneven = [[first, second], [third, first]]
    empty = [[first], []]
    epochs = [[[astuple(rows) for rows in epoch[rank]] for epoch in (uneven, empty)] for rank in range(2)]
    ranks = [
        subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-c", RANK, tmp_path.as_uri(), str(rank)),
                json.dumps(epochs[rank], default=np.ndarray.tolist),
            ],
            stdout=subprocess.PIPE,
        )
        for rank in range(2)
    ]

    one, other = (json.loads(rank.communicate(timeout=120)[0]) for rank in ranks)

    for logged in (one, other):
        assert logged[0] == pytest.approx(summarize(Outcomes.join([first, second, third])), nan_ok=True)
        assert logged[1] == pytest.approx(summarize(first), nan_ok=True)


def test_the_metrics_of_files_need_no_torch() -> None:
    script = "import sys, vlcal.evaluation.metrics.table; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", script], check=True)
