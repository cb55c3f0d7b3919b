"""Benchmarks: where each is kept, what its columns are, and what counts as right without asking a judge."""

from vlcal.data.benchmarks.benchmark import Benchmark
from vlcal.data.benchmarks.catalogue import BENCHMARKS, SUITES
from vlcal.data.benchmarks.suite import BenchmarkSuite

__all__ = ["BENCHMARKS", "SUITES", "Benchmark", "BenchmarkSuite"]
