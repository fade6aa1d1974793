"""Benchmarks as declarative entries: where the problems come from, how they are asked, how answers are judged."""

from attnpo.evaluation.benchmarks.entry import Benchmark
from attnpo.evaluation.benchmarks.registry import benchmark_rows, list_benchmarks, load_benchmark

__all__ = ["Benchmark", "benchmark_rows", "list_benchmarks", "load_benchmark"]
