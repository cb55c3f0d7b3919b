"""Several recipes from one base, over several seeds, on unseen handwriting: the figures of docs/results.md.

    python benchmarks/digits.py --seeds 0 1 2 3 4 --recipes best published --folder runs/seeds

Writes FOLDER/results.jsonl, one line per seed and recipe, after each of them, so that nothing is lost when it is cut
short. About ten minutes a line on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from vlcal.commands.trainer import figures_of
from vlcal.demo import clear, judge, reinforce, take_base


def main() -> None:
    """Run every seed and recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=["best", "published"])
    parser.add_argument("--folder", type=Path, default=Path("runs/seeds"))
    given = parser.parse_args()
    for seed in given.seeds:
        for recipe in given.recipes:
            folder, start = given.folder / f"{recipe}-{seed}", time.monotonic()
            clear(folder)
            take_base(figures_of, folder, seed)
            before = judge(figures_of, folder, recipe, seed, "before")
            reinforce(figures_of, folder, recipe, seed)
            after = judge(figures_of, folder, recipe, seed, "after", trained=True)
            row = {"seed": seed, "recipe": recipe, "before": before, "after": after}
            with (given.folder / "results.jsonl").open("a") as out:
                out.write(json.dumps({**row, "seconds": round(time.monotonic() - start, 1)}) + "\n")


if __name__ == "__main__":
    main()
