"""Many benchmarks as one data module."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.benchmark_rows import CASES
from vlcal.data import BenchmarkSuite, SkipBadRows
from vlcal.data.benchmarks.suite import names_of


@pytest.fixture
def folder(tmp_path: Path, write_parquet: Callable[..., Path], write_hub: Callable[..., Path]) -> Path:
    """Three of thirteen: a file, a folder of the hub's layout, and one with a bad row."""
    write_parquet(tmp_path / "logicvista.parquet", CASES["logicvista"].rows * 3)
    write_hub(tmp_path / "a-okvqa", CASES["a-okvqa"].rows, "validation")
    return tmp_path


def prompts(suite: BenchmarkSuite) -> list[dict[str, Any]]:
    return [dict(extras) for batch in suite.val_dataloader() for extras in batch.extras]


def test_what_is_present_is_judged_and_what_is_missing_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        suite = BenchmarkSuite(folder=folder)
        suite.setup("validate")

    assert "Judging 2 of 13 benchmarks: logicvista (3), a-okvqa (1)." in caplog.text
    missing = [record for record in caplog.records if "is missing" in record.message]
    assert len(missing) == 11 and all(record.levelno == logging.WARNING for record in missing)
    assert any("Benchmark mathvista is missing" in record.message for record in missing)
    assert [extras["dataset"] for extras in prompts(suite)] == ["logicvista"] * 3 + ["a-okvqa"]


def test_every_prompt_carries_the_rule_of_its_own_benchmark(folder: Path) -> None:
    rules = {
        extras["dataset"]: type(verifier).__name__
        for batch in BenchmarkSuite(folder=folder).val_dataloader()
        for extras, verifier in zip(batch.extras, batch.verifiers, strict=True)
    }

    assert rules == {"logicvista": "LetterSetVerifier", "a-okvqa": "OptionVerifier"}


def test_a_suite_without_anything_to_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all of mathvista, pope are missing. mathvista: .*mathvista.parquet is not"):
        BenchmarkSuite(["mathvista", "pope"], folder=tmp_path).setup("validate")


def test_a_benchmark_that_cannot_be_fetched_is_missing() -> None:
    with pytest.raises(ValueError, match="all of pope are missing. pope: .*lmms-lab-encoder/POPE cannot be had"):
        BenchmarkSuite("pope").setup("validate")


def test_a_broken_copy_is_an_error_and_not_missing(folder: Path, write_parquet: Callable[..., Path]) -> None:
    row = CASES["pope"].rows[0]
    write_parquet(folder / "pope.parquet", [row, {**row, "answer": "maybe"}, {**row, "answer": "perhaps"}])

    with pytest.raises(ValueError, match=r"pope\.parquet, row 2: `target` must be yes or no"):
        BenchmarkSuite(["logicvista", "pope"], folder=folder).setup("validate")
    suite = BenchmarkSuite(["logicvista", "pope"], folder=folder, bad_rows=SkipBadRows(0.7))
    assert [len(found) for found in suite.questions().values()] == [3, 1]


def test_one_bad_row_ends_nothing_and_is_counted_when_the_suite_is_done(
    folder: Path, write_parquet: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    row = CASES["pope"].rows[0]
    write_parquet(folder / "pope.parquet", [row, {**row, "answer": "maybe"}])
    suite = BenchmarkSuite(["logicvista", "pope"], folder=folder)

    with caplog.at_level(logging.INFO):
        suite.setup("validate")
    assert "Judging 2 of 2 benchmarks: logicvista (3), pope (1; 1 left out)." in caplog.text
    assert "pope.parquet, row 2: `target` must be yes or no" in caplog.text
    caplog.clear()
    suite.teardown("validate")
    assert [record.message for record in caplog.records] == ["Benchmark pope: 1 left out"]


def test_the_limit_holds_for_each(folder: Path) -> None:
    suite = BenchmarkSuite(["logicvista", "a-okvqa"], folder=folder, limit=2)

    assert [len(found) for found in suite.questions().values()] == [2, 1]


def test_names_of_suites_and_benchmarks_may_be_mixed_and_each_counts_once() -> None:
    assert names_of(["pope", "vl-calibration", "mathvista"])[0] == "pope"
    assert len(names_of(["pope", "vl-calibration", "mathvista"])) == 14


@pytest.mark.parametrize(("benchmarks", "named"), [("mathvist", "mathvist"), ([], "none"), (["pope", "x"], "x")])
def test_an_unknown_name_is_refused(benchmarks: str | list[str], named: str) -> None:
    with pytest.raises(ValueError, match=f"`benchmarks` must name suites .* got {named}"):
        BenchmarkSuite(benchmarks)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`folder` must be a folder with copies of benchmarks; .*gone is not there"):
        BenchmarkSuite(folder=tmp_path / "gone")
