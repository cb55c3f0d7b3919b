"""Several recipes from the same warm-up, over several seeds, on unseen handwriting: the figures of docs/results.md.

    python benchmarks/digits.py --seeds 0 1 2 --recipes best published --folder runs/seeds

For each seed one warm-up, then each recipe from it. Writes FOLDER/results.jsonl, one line per seed and recipe, after
each of them, so that nothing is lost when it is cut short. About twenty minutes a seed on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from vlcal.commands.trainer import figures_of
from vlcal.data.digits import DigitsOracle, DigitsPrompts
from vlcal.demo import judge, known, reinforce, warm_up
from vlcal.policy import Continuations, PolicySpec, TransformersEngine
from vlcal.text import Grammar
from vlcal.training.reader import ResponseReader
from vlcal.training.sampling import draw_seed


def probe_auroc(folder: Path, scenes: int = 1024) -> float:
    """AUROC, against the true reading of unseen digits, of a supervised probe of the warm model.

    A logistic regression on the hidden state at which the visual confidence is stated, fitted on training scenes with
    the true reading as its label: what the model could say there, if somebody told it the truth.
    """
    policy = PolicySpec(str(folder / "warm"), dtype="float32").build()
    reader = ResponseReader(Grammar(instructions=""), oracle=DigitsOracle())
    data = DigitsPrompts(steps=scenes // 256, batch_size=256, held_out=scenes, seed=99)
    features: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, loader in (("train", data.train_dataloader()), ("test", data.val_dataloader())):
        states, truths = [], []
        for prompts in loader:
            encoded = policy.encode(prompts, reader.grammar)
            seeds = [draw_seed(0, name) for name in prompts.ids]
            rollouts = TransformersEngine(48, temperature=0.6, top_p=0.95).sample(policy, encoded, 1, seeds)
            said = reader.read(policy, prompts, rollouts)
            with torch.no_grad():
                hidden = policy.hidden(Continuations.of(encoded, rollouts.tokens, rollouts.mask))
            at = said.spans.visual_confidence
            states.append(hidden[torch.arange(len(at)), at.int().argmax(1)][at.any(1)])
            truths.append(said.perception_correct[at.any(1)])
        features[name] = torch.cat(states), torch.cat(truths)
    fit = LogisticRegression(max_iter=2000, C=0.1).fit(*features["train"])
    states, truths = features["test"]
    return float(roc_auc_score(truths, fit.decision_function(states)))


def main() -> None:
    """Run every seed and recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=["best", "published"])
    parser.add_argument("--folder", type=Path, default=Path("runs/seeds"))
    given = parser.parse_args()
    for seed in given.seeds:
        folder = given.folder / str(seed)
        warm_up(figures_of, folder, seed)
        probe = probe_auroc(folder)
        for recipe in given.recipes:
            start = time.monotonic()
            before = judge(figures_of, folder, recipe, seed, f"{recipe}-before")
            reinforce(figures_of, folder, recipe, seed)
            after = judge(figures_of, folder, recipe, seed, f"{recipe}-after", trained=True)
            row = {"seed": seed, "recipe": recipe, "probe_auroc": probe, "before": known(before), "after": known(after)}
            with (given.folder / "results.jsonl").open("a") as out:
                out.write(json.dumps({**row, "seconds": round(time.monotonic() - start, 1)}) + "\n")


if __name__ == "__main__":
    main()
