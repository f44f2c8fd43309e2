"""The figure of experiments/collapse.yaml, from its two runs' logs: python -m benches.collapse_figure RUNS docs/collapse.png"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from chexreason.runs.folders import LOG, complete_runs

PANELS = {
    "reward": "reward",
    "entropy": "entropy (nats per token)",
    "failure_rate": "completions without an answer",
    "collapse/distinct": "distinct completions",
    "completions/mean_length": "completion length (tokens)",
    "kl": "KL to the SFT checkpoint",
}


def main(runs: Path, target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 5.5), sharex=True, layout="constrained")
    for folder, manifest in complete_runs(runs):
        if manifest["stage"] != "grpo" or manifest["experiment"] != "collapse":
            continue
        kept = manifest["config"]["stage"]["beta"] > 0
        label, colour = ("with stabilisers", "#1b6ca8") if kept else ("without", "#c0392b")
        lines = [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
        for axis, (key, title) in zip(axes.flat, PANELS.items(), strict=True):
            points = [(line["step"], line[key]) for line in lines if key in line]
            axis.set_title(title, fontsize=10)
            if points:
                axis.plot(*zip(*points, strict=True), label=label, color=colour)
        print(label, json.dumps({key: manifest["metrics"][key] for key in ("steps", "collapsed", "best", "reward_last_tenth")}))
    for axis in axes[1]:
        axis.set_xlabel("optimizer step")
    axes[0, 0].legend(frameon=False, fontsize=9)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("target", type=Path)
    main(**vars(parser.parse_args()))
