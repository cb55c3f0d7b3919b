"""How long the full table takes: 100,000 predictions with 1,000 bootstrap draws, on one core and without a thread pool.

    python benchmarks/score.py --output runs/score.json

Once with the eleven levels of a stated confidence, once with a continuum, where every response is a level of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from vlcal.evaluation.metrics import ScoredResponses
from vlcal.evaluation.metrics.table import metric_table


def predictions(rows: int, levels: int, seed: int) -> ScoredResponses:
    """Overconfident predictions; with `levels` steps from 0 to 1, or as they come if that is 0."""
    rng = np.random.default_rng(seed)
    confidence = rng.random(rows)
    correct = (rng.random(rows) < confidence**1.5).astype(np.float64)
    return ScoredResponses.of(np.round(confidence * levels) / levels if levels else confidence, correct)


def main() -> None:
    """Time both kinds of confidence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="write the seconds as JSON")
    args = parser.parse_args()
    console = Console(highlight=False, markup=False)
    seconds = {}
    for name, levels in (("levels", 10), ("continuous", 0)):
        judged = predictions(args.predictions, levels, seed=0)
        wall, processor = time.perf_counter(), time.process_time()
        table = metric_table(judged, draws=args.draws)
        seconds[name] = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        ece = table.estimates["ece_equal_width"]
        console.print(
            f"{name}: {seconds[name]['wall']:.1f} s ({seconds[name]['processor']:.1f} s of processor), "
            f"ECE {ece.value:.4f} [{ece.low:.4f}, {ece.high:.4f}]"
        )
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        machine = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"
        result = {"predictions": args.predictions, "draws": args.draws, "machine": machine, "seconds": seconds}
        args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
