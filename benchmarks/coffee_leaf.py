"""Where to look on real photographs: uniform, oracle and learned sampling of coffee leaves at 2048x1024.

    python benchmarks/coffee_leaf.py DATA OUT                                     the whole study
    python benchmarks/coffee_leaf.py DATA OUT --sizes 32x64 --variants uniform,learned --seeds 0
    python benchmarks/coffee_leaf.py DATA OUT --table docs/results/coffee_leaf    the table of what is there

Every variant has the same network, schedule, anti-aliasing, seeds and number of epochs; only where the
samples lie differs. Runs that are done are kept, so the command may be stopped and repeated, or started twice
with other seeds side by side. Scores are on the test split, at full resolution, counts pooled over it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

from saccade.data import SampleCache, open_data
from saccade.evaluation import evaluate
from saccade.training import load_run, read_config, train

COMMON = ["network.name=small", "training.precision=bf16-mixed", "training.validate_every=3"]
VARIANTS = {
    "uniform": ["sampler.name=uniform"],
    "oracle": ["sampler.name=oracle"],
    "learned": ["sampler.name=deformation"],
    "learned_single": ["sampler.name=deformation", "training.variant=single"],
    "published": [
        "sampler.name=deformation", "sampler.grid=attraction", "sampler.floor=0", "sampler.cover=false",
        "sampler.edge_weights=equal", "loss.edge=mse", "loss.edge_weight=100", "loss.segmentation=focal",
        "loss.through_grid=true",
    ],
    "published_single": [
        "sampler.name=deformation", "sampler.grid=attraction", "sampler.floor=0", "sampler.cover=false",
        "loss.segmentation=focal", "training.variant=single",
    ],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--sizes", default="32x64,64x128")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--split", default="test")
    parser.add_argument("--also", nargs="*", default=[], help="further options for every variant")
    parser.add_argument("--label", default="", help="added to the names of the runs")
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    if args.table is None:
        run_all(args)
    else:
        write_table(args.out, args.table)


def run_all(args: argparse.Namespace) -> None:
    torch.set_num_threads(
        1
    )  # two such processes side by side fill two cores better than one with two threads
    cache = SampleCache()
    data = open_data(args.data, on_decoded=cache.keep)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds.split(","):
        for size in args.sizes.split(","):
            for variant in args.variants.split(","):
                name = f"{variant}{args.label}_{size}_s{seed}"
                file = args.out / f"{name}.json"
                if file.exists():
                    continue
                options = [f"sampler.size={size}", f"training.seed={seed}", f"training.epochs={args.epochs}"]
                config = read_config(overrides=[*COMMON, *options, *VARIANTS[variant], *args.also])
                train(data, args.out / name, config, cache=cache, overwrite=True, device="cpu")
                run = load_run(args.out / name)
                scores = evaluate(run.segmenter, cache.iterate(data, data.split(args.split)), data.classes)
                found = {"variant": variant + args.label, "size": size, "seed": int(seed), **scores.to_json()}
                file.write_text(json.dumps(found, indent=1) + "\n")
                print(f"{name}: {line(found)}", flush=True)


def line(found: dict) -> str:
    return (
        f"mIoU {found['miou']:.4f}, lesion {found['iou']['symptom']:.4f}, "
        f"recovery {found['label_recovery']['iou']['symptom']:.4f}, "
        f"{found['cost']['gflops']:.3f} GFLOPs ({found['cost']['sampler_gflops']:.3f} sampler), "
        f"{found['cost']['seconds_per_image'] * 1e3:.1f} ms"
    )


def write_table(out: Path, table: Path) -> None:
    """Mean and spread over the seeds, as Markdown and as JSON."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for file in sorted(out.glob("*.json")):
        found = json.loads(file.read_text())
        groups.setdefault((found["size"], found["variant"]), []).append(found)
    rows = [summary(size, variant, runs) for (size, variant), runs in sorted(groups.items())]
    table.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    names = ["size", "variant", "seeds", "lesion IoU", "mIoU", "label recovery (lesion)", "boundary IoU"]
    lines = [[*names, "GFLOPs", "of it sampler", "ms an image"], ["---"] * 10]
    for row in rows:
        several = row["seeds"] > 1
        scores = [f"{m:.3f}" + f" ± {spread:.3f}" * several for m, spread in (row["lesion"], row["miou"])]
        means = [f"{row[name][0]:.3f}" for name in ("recovery", "boundary")]
        cost = [f"{row['gflops']:.3f}", f"{row['sampler_gflops']:.3f}", f"{row['ms']:.1f}"]
        lines.append([row["size"], row["variant"], str(row["seeds"]), *scores, *means, *cost])
    text = "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
    table.with_suffix(".md").write_text(text)
    print(text)


def summary(size: str, variant: str, runs: list[dict]) -> dict:
    def spread(values: list[float]) -> tuple[float, float]:
        return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0

    return {
        "size": size, "variant": variant, "seeds": len(runs),
        "lesion": spread([r["iou"]["symptom"] for r in runs]),
        "lesion_by_seed": [r["iou"]["symptom"] for r in runs],
        "miou": spread([r["miou"] for r in runs]),
        "recovery": spread([r["label_recovery"]["iou"]["symptom"] for r in runs]),
        "boundary": spread([r["boundary_iou"] for r in runs]),
        "gflops": runs[0]["cost"]["gflops"], "sampler_gflops": runs[0]["cost"]["sampler_gflops"],
        "ms": 1e3 * statistics.median(r["cost"]["seconds_per_image"] for r in runs),
    }  # fmt: skip


if __name__ == "__main__":
    main()
