"""Do averaged weights score better? One training, its weights and their average, at the sizes of a range.

    python benchmarks/averaging.py DATA OUT --size 32x64..128x256 --network small --epochs 30 \
        training.average=0.99 training.precision=bf16-mixed --json averaged.json

The average changes no step (tests/training/test_training_average.py), so both are of one and the same
training: those of the last epoch, on the test split at full resolution, counts pooled over it. A run that is
there is used. DATA that is not there is made of painted scenes (128 x 192 pixels; 40 to train, 8 to validate,
40 to test).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import saccade
from saccade.data import SampleCache, open_data
from saccade.data.scenes import make_scenes
from saccade.training import load_run
from saccade.training.run_folder import read_checkpoint
from saccade.training.scores_by_size import scores_by_size

PREFIX = "segmenter."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("options", nargs="*", default=["training.average=0.99"])
    parser.add_argument("--size", default="32x64..128x256")
    parser.add_argument("--network", default="small")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_intermixed_args()
    data = args.data if args.data.exists() else make_scenes(args.data, count=(40, 8, 40), size=(128, 192))
    if (args.out / "checkpoints" / "last.ckpt").is_file():
        run = load_run(args.out, "last")
    else:
        run = saccade.train(
            data, args.out, size=args.size, network=args.network, epochs=args.epochs, seed=args.seed,
            batch_size=args.batch_size, device="cpu", options=args.options,
        )  # fmt: skip
    found = {
        "options": args.options,
        "size": args.size,
        "epochs": args.epochs,
        "seed": args.seed,
        **both(run, data),
    }
    text = json.dumps(found, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n")


def both(run: saccade.training.Run, data: Path) -> dict[str, dict[str, float]]:
    """mIoU by size of the weights and of their average."""
    saved = read_checkpoint(run.path / "checkpoints" / "last.ckpt")
    if "training_weights" not in saved:
        raise SystemExit(f"{run.path}: trained without training.average")
    opened, cache = open_data(data), SampleCache()
    samples = [cache.get(opened, item) for item in opened.split("test")]
    sizes, found = run.config.sampler.sizes, {}
    rungs = [run.config.sampler.size] if sizes is None else sizes.ladder()
    for name, key in (("trained", "training_weights"), ("averaged", "state_dict")):
        weights = {n.removeprefix(PREFIX): w for n, w in saved[key].items() if n.startswith(PREFIX)}
        run.segmenter.load_state_dict(weights)
        scores = scores_by_size(run.segmenter.eval(), samples, rungs, len(opened.classes))
        found[name] = {"{}x{}".format(*one.size): round(one.val_miou, 4) for one in scores}
    return found


if __name__ == "__main__":
    main()
