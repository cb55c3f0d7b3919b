"""Many benchmarks as one data module."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import ConcatDataset, DataLoader, SequentialSampler

from vlcal.data.bad_rows import BadRows, SkipBadRows
from vlcal.data.benchmarks.benchmark import FILES, Benchmark
from vlcal.data.benchmarks.catalogue import BENCHMARKS, SUITES
from vlcal.data.datamodule import loader, loading_workers, run_check
from vlcal.data.images import ImageSize
from vlcal.data.questions import Questions
from vlcal.data.records import Record, prompts_of
from vlcal.data.tables import MissingTable
from vlcal.errors import UserError
from vlcal.parts import fresh_defaults

logger = logging.getLogger(__name__)


class BenchmarkSuite(lightning.LightningDataModule):
    """All benchmarks of a suite that are here or can be had, one after the other; those that are missing are named.

    A row that cannot be used ends nothing: it is left out, counted, and named again when the suite is done.

    Every prompt says in its extras which data set it is of and which question it is a version of.

    Args:
        benchmarks: Name of a suite (vl-calibration, all), or names of benchmarks.
        folder: Where local copies lie, each a folder or file with the name of its benchmark (mathvista, or
            mathvista.parquet, .jsonl or .json). None takes the published copies from the hub or its cache.
        batch_size: Prompts a step.
        workers: Processes that decode images, at most one for each processor; 0 decodes in the main one.
        limit: Most questions of each, spread evenly over it. None takes all.
        image_size: Bounds on the pixels of an image.
        bad_rows: What happens to rows that are not what they should be.
    """

    @fresh_defaults
    def __init__(
        self,
        benchmarks: str | list[str] = "vl-calibration",
        folder: Path | None = None,
        batch_size: int = 8,
        workers: int = 0,
        limit: int | None = None,
        image_size: ImageSize = ImageSize(),
        bad_rows: BadRows = SkipBadRows(),
    ) -> None:
        super().__init__()
        if folder is not None and not folder.is_dir():
            raise UserError(f"`folder` must be a folder with copies of benchmarks; {folder} is not there.")
        self.folder = folder
        self.sources = [Benchmark(name, self._copy(name), limit=limit) for name in names_of(benchmarks)]
        self.batch_size = batch_size
        self.workers = loading_workers(batch_size, workers)
        self.image_size = image_size
        self.bad_rows = bad_rows
        self._read: dict[str, Questions] = {}

    def setup(self, stage: str) -> None:
        """Read what is there, before the policy is loaded."""
        self.questions()

    def teardown(self, stage: str) -> None:
        """Say how many rows were left out, once more, where all else has been said."""
        for name, found in self._read.items():
            if found.left_out:
                logger.warning("Benchmark %s: %s", name, _left_out(found))

    def questions(self) -> dict[str, Questions]:
        """The questions of every benchmark that is there, by name; read once.

        Raises:
            UserError: If none is there, or bad rows are refused.
        """
        if not self._read:
            missing: dict[str, str] = {}
            check = run_check(self, self.image_size)
            for source in self.sources:
                try:
                    self._read[source.name] = source.questions(self.bad_rows, check)
                except MissingTable as error:
                    missing[source.name] = str(error)
            self._report(missing)
        return self._read

    def val_dataloader(self) -> DataLoader[Any]:
        """Every question, benchmark after benchmark."""
        joined: ConcatDataset[Record] = ConcatDataset(list(self.questions().values()))
        collate = partial(prompts_of, size=self.image_size)
        return loader(joined, SequentialSampler(joined), self.batch_size, self.workers, collate)

    def test_dataloader(self) -> DataLoader[Any]:
        """Every question, benchmark after benchmark."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """Every question, benchmark after benchmark."""
        return self.val_dataloader()

    def _copy(self, name: str) -> str | None:
        """The local copy of a benchmark; a path that is not there where the folder has none."""
        if self.folder is None:
            return None
        copies = [self.folder / f"{name}{suffix}" for suffix in ("", *FILES)]
        # Without any it is asked for as a file, which cannot be taken for an id on the hub.
        return str(next((copy for copy in copies if copy.exists()), copies[1]))

    def _report(self, missing: dict[str, str]) -> None:
        if not self._read:
            name, reason = next(iter(missing.items()))
            raise UserError(
                f"`benchmarks` must hold at least one that is here; all of {', '.join(missing)} are missing. "
                f"{name}: {reason}"
            )
        sizes = ", ".join(
            f"{name} ({len(found)}{f'; {_left_out(found)}' if found.left_out else ''})"
            for name, found in self._read.items()
        )
        logger.info("Judging %d of %d benchmarks: %s.", len(self._read), len(self.sources), sizes)
        for name, reason in missing.items():
            logger.warning("Benchmark %s is missing: %s", name, reason)


def names_of(benchmarks: str | list[str]) -> list[str]:
    """The benchmarks of a suite, or those that are named, each once.

    Raises:
        UserError: If there is no such suite or benchmark, or none is named.
    """
    named = [benchmarks] if isinstance(benchmarks, str) else benchmarks
    names = list(dict.fromkeys(member for name in named for member in SUITES.get(name, (name,))))
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown or not names:
        raise UserError(
            f"`benchmarks` must name suites ({', '.join(SUITES)}) or benchmarks ({', '.join(BENCHMARKS)}); "
            f"got {', '.join(unknown) or 'none'}."
        )
    return names


def _left_out(questions: Questions) -> str:
    return f"{len(questions.left_out)} left out"
