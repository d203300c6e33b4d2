"""The foveation papers' table in small: fixed, random, average, ensemble and learned fields of view.

    python benchmarks/foveation.py DATA OUT                                 every variant that is not done yet
    python benchmarks/foveation.py DATA OUT --variants fixed0,mean --reading aligned --seeds 0
    python benchmarks/foveation.py DATA OUT --table docs/results/foveation_hrf_av

Every variant has the same network, schedule, patches, locations and seeds; only which field of view is fed
differs, and how the answer is read. Runs that are done are kept, so the command may be stopped and repeated.
Scores are on the test split, at full resolution, counts pooled over it; pixels are all those read of an
image. The ensemble is put together from the fixed baselines of the same seed and reading.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from foveation_tables import write_tables
from saccade.data import DataFolder, SampleCache, open_data
from saccade.evaluation import evaluate
from saccade.lab.studies.field_oracle import field_oracle
from saccade.lab.studies.foveation import compare_maps, stride_study
from saccade.training import load_run, read_config, train

BANK = (192, 320, 512, 768, 1120)
FIXED = tuple(f"fixed{field}" for field in range(len(BANK)))
LEARNED = ("mean", "mode", "gumbel", "reinforce", "regret")
VARIANTS = (*FIXED, "random", "average", "ensemble", *LEARNED, "mean_rarity")
READINGS = ("published", "aligned")
COMMON = [
    "sampler.name=foveation", "sampler.size=64x64", f"foveation.bank={list(BANK)}", "foveation.shrink=32",
    "foveation.stride=4", "foveation.locations=4", "foveation.visits=8", "network.name=small:12",
    "training.precision=bf16-mixed", "training.batch_size=6", "loss.class_weights=rarity",
]  # fmt: skip
MAPS, ORACLE, STRIDES, STRIDE_IMAGES = "maps", "oracle", (2, 3, 4, 5), 4
"""Strides are compared on every fourth test image."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--reading", default=",".join(READINGS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--also", nargs="*", default=[], help="further options for every variant")
    parser.add_argument("--table", type=Path, help="write the table of what is there, and train nothing")
    args = parser.parse_args()
    if args.table is not None:
        write_tables(args.out, args.table)
    else:
        run_all(args)


def run_all(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    cache = SampleCache()
    data = open_data(args.data, on_decoded=cache.keep)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds.split(","):
        for reading in args.reading.split(","):
            variants = args.variants.split(",")
            for variant in variants:
                run_one(args, data, cache, variant, reading, int(seed))
            study_oracle(args, data, cache, reading, int(seed))
            if set(FIXED) <= set(variants):
                study_maps(args, data, cache, reading, int(seed))


def run_one(
    args: argparse.Namespace, data: DataFolder, cache: SampleCache, variant: str, reading: str, seed: int
) -> None:
    name = name_of(variant, reading, seed)
    file = args.out / f"{name}.json"
    if file.exists():
        return
    start = time.perf_counter()
    options = [f"training.seed={seed}", f"training.epochs={args.epochs}", f"foveation.reading={reading}"]
    options += [f"training.validate_every={args.epochs}", *chosen(variant)]
    if variant == "ensemble":
        members = [str(args.out / name_of(one, reading, seed)) for one in FIXED]
        options.append(f"foveation.members=[{','.join(members)}]")
    config = read_config(overrides=[*COMMON, *options, *args.also])
    train(data, args.out / name, config, cache=cache, overwrite=True, device="cpu")
    trained = time.perf_counter()
    run = load_run(args.out / name)
    scores = evaluate(run.segmenter, cache.iterate(data, data.split("test")), data.classes).to_json()
    found = {
        "variant": variant, "reading": reading, "seed": seed, **scores,
        "training_seconds": trained - start, "evaluation_seconds": time.perf_counter() - trained,
    }  # fmt: skip
    if variant in ("fixed0", "mean", "mode"):
        some = cache.iterate(data, data.split("test")[::STRIDE_IMAGES])
        found["strides"] = stride_study(run.segmenter, some, data.classes, STRIDES).to_json()
    file.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{name}: {line(found)}", flush=True)


def study_oracle(
    args: argparse.Namespace, data: DataFolder, cache: SampleCache, reading: str, seed: int
) -> None:
    """What a perfect choice of the field would score: of a network for each field, and of shared ones."""
    for name, variants in {"separate": FIXED, "random": ("random",), "mode": ("mode",)}.items():
        folders = [args.out / name_of(one, reading, seed) for one in variants]
        file = args.out / f"{ORACLE}_{name}_{reading}_s{seed}.json"
        if file.exists() or not all(folder.with_suffix(".json").exists() for folder in folders):
            continue
        segmenters = [load_run(folder).segmenter for folder in folders]
        found = field_oracle(segmenters, cache.iterate(data, data.split("test")), data.classes).to_json()
        file.write_text(
            json.dumps({"oracle": name, "reading": reading, "seed": seed, **found}, indent=1) + "\n"
        )
        print(f"{file.stem}: {found}", flush=True)


def study_maps(
    args: argparse.Namespace, data: DataFolder, cache: SampleCache, reading: str, seed: int
) -> None:
    """Foveation maps of the learned variants beside the gold standard (Table 3)."""
    file = args.out / f"{MAPS}_{reading}_s{seed}.json"
    learned = {one: args.out / name_of(one, reading, seed) for one in LEARNED}
    learned = {one: path for one, path in learned.items() if (path.with_suffix(".json")).exists()}
    if file.exists() or not learned:
        return
    fixed = [load_run(args.out / name_of(one, reading, seed)).segmenter for one in FIXED]
    others = {one: load_run(path).segmenter for one, path in learned.items()}
    found = compare_maps(fixed, others, cache.iterate(data, data.split("test")), len(data.classes))
    file.write_text(json.dumps({"reading": reading, "seed": seed, **found.to_json()}, indent=1) + "\n")
    print(f"{file.stem}: {found.to_json()['mse']}", flush=True)


def name_of(variant: str, reading: str, seed: int) -> str:
    return f"{variant}_{reading}_s{seed}"


def chosen(variant: str) -> list[str]:
    """Options of a variant."""
    if variant.startswith("fixed"):
        return ["foveation.estimator=fixed", f"foveation.field={variant.removeprefix('fixed')}"]
    if variant == "mean_rarity":
        return ["foveation.estimator=mean", "foveation.draw=rarity"]
    return [f"foveation.estimator={variant}"]


def line(found: dict) -> str:
    by_class = ", ".join(f"{name} {value or 0:.3f}" for name, value in found["iou"].items())
    return (
        f"mIoU {found['miou']:.4f} ({by_class}), {found['cost']['pixels']:,} pixels, "
        f"{found['cost']['seconds_per_image']:.2f} s an image; trained {found['training_seconds']:.0f} s, "
        f"evaluated {found['evaluation_seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
