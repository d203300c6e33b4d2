"""Does the gain of learned sampling hang on one network? Several families, uniform and deformation.

    python benchmarks/networks.py DATA OUT                                     every family, both samplers
    python benchmarks/networks.py DATA OUT --networks pspnet,unet --seeds 0,1
    python benchmarks/networks.py DATA OUT --table docs/results/networks       the table of what is there

Within a family only the places of the samples differ: the same small encoder, schedule, anti-aliasing, seed
and number of epochs; no weights from elsewhere. Runs that are done are kept, so the command may be stopped
and repeated. Scores are on the test split, at full resolution, counts pooled over it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from saccade.data import SampleCache, open_data
from saccade.evaluation import evaluate
from saccade.training import load_run, read_config, train

FAMILIES = {
    "hrnetv2": "hrnetv2:w18_small",
    "pspnet": "pspnet:resnet18/16",
    "upernet": "upernet:resnet18/128",
    "deeplabv3plus": "deeplabv3plus:mobilenet_v2",
    "unet": "unet:resnet18",
}
SAMPLERS = ("uniform", "deformation")
COMMON = ["training.precision=bf16-mixed", "training.validate_every=3", "optimizer.learning_rate=1e-3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--networks", default=",".join(FAMILIES), help="families, or any names of networks")
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--size", default="64x128")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--split", default="test")
    parser.add_argument("--also", nargs="*", default=[], help="further options for every run")
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    if args.table is None:
        run_all(args)
    else:
        write_table(args.out, args.table)


def run_all(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # two such processes side by side fill two cores better than two threads each
    cache = SampleCache()
    data = open_data(args.data, on_decoded=cache.keep)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds.split(","):
        for family in args.networks.split(","):
            for sampler in args.samplers.split(","):
                name = f"{family.replace(':', '_')}_{sampler}_{args.size}_s{seed}"
                if not (args.out / f"{name}.json").exists():
                    options = [f"sampler.name={sampler}", f"training.seed={seed}"]
                    found = run_one(args, data, cache, name, family, options)
                    print(f"{name}: {line(found)}", flush=True)


def run_one(
    args: argparse.Namespace, data, cache: SampleCache, name: str, family: str, options: list[str]
) -> dict:
    size, epochs = f"sampler.size={args.size}", f"training.epochs={args.epochs}"
    network = f"network.name={FAMILIES.get(family, family)}"
    config = read_config(overrides=[*COMMON, size, epochs, network, *options, *args.also])
    start = time.perf_counter()
    train(data, args.out / name, config, cache=cache, overwrite=True, device="cpu")
    seconds = time.perf_counter() - start
    run = load_run(args.out / name)
    scores = evaluate(run.segmenter, cache.iterate(data, data.split(args.split)), data.classes)
    found = {
        "family": family, "network": config.network.name, "sampler": config.sampler.name,
        "millions": sum(p.numel() for p in run.segmenter.network.parameters()) / 1e6,
        "seed": config.training.seed, "training_seconds": seconds, **scores.to_json(),
    }  # fmt: skip
    (args.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def line(found: dict) -> str:
    classes = ", ".join(f"{name} {score or 0:.4f}" for name, score in found["iou"].items())
    return f"mIoU {found['miou']:.4f} ({classes}), trained in {found['training_seconds']:.0f} s"


def write_table(out: Path, table: Path) -> None:
    """Both samplers of a family side by side: means over the seeds, and the gain of each seed."""
    runs = [json.loads(file.read_text()) for file in sorted(out.glob("*.json"))]
    smallest = min(runs[0]["sampling_ratio"], key=lambda name: runs[0]["iou"][name] or 1.0)
    names = ["network", "parameters", "seeds", f"{smallest} IoU uniform", "learned", "gain"]
    lines = [[*names, "mIoU uniform", "learned", "gain"], ["---"] * 9]
    families = dict.fromkeys([*FAMILIES, *(one["family"] for one in runs)])
    rows = [row for family in families if (row := summary(family, smallest, runs))]
    for row in rows:
        cells = [row["network"], f"{row['millions']:.1f} M", str(len(row["gains"]["miou"]))]
        for score in (smallest, "miou"):
            cells += [f"{row['uniform'][score]:.3f}", f"{row['deformation'][score]:.3f}"]
            cells.append(" ".join(f"{gain:+.3f}" for gain in row["gains"][score]))
        lines.append(cells)
    table.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    text = "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
    table.with_suffix(".md").write_text(text)
    print(text)


def summary(family: str, smallest: str, runs: list[dict]) -> dict | None:
    own = [one for one in runs if one["family"] == family]
    pairs = [
        (plain, learned)
        for plain in own
        for learned in own
        if (plain["sampler"], learned["sampler"]) == SAMPLERS and plain["seed"] == learned["seed"]
    ]
    if not pairs:
        return None

    def score(one: dict, name: str) -> float:
        return one["miou"] if name == "miou" else one["iou"][name] or 0.0

    means = {
        sampler: {
            name: statistics.mean(score(pair[place], name) for pair in pairs) for name in (smallest, "miou")
        }
        for place, sampler in enumerate(SAMPLERS)
    }
    gains = {name: [score(b, name) - score(a, name) for a, b in pairs] for name in (smallest, "miou")}
    return {
        "family": family, "network": own[0]["network"], "millions": own[0]["millions"], **means,
        "gains": gains,
        "training_seconds": [round(one["training_seconds"]) for one in own],
    }  # fmt: skip


if __name__ == "__main__":
    main()
