"""Time and peak memory of tables and polygons of very many objects, predicted from one image within --memory.

    python million_objects.py --objects 1000000 --memory 3GB --json results/million_objects.json

makes an image of 20,000 x 20,000 pixels with a light square of 10 x 10 in every 20 x 20, a network that tells
light from dark, and predicts it as ``saccade predict --save labels,table,polygons --memory 3GB`` does, in a
process of its own. Every object of the table must have its hundred pixels.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PITCH, SIDE = 20, 10


def make_image(path: Path, side: int) -> None:
    """A tiled TIFF, written tile by tile."""
    import numpy as np
    import tifffile

    tile = np.zeros((1000, 1000, 3), np.uint8)
    for row in range(5, 5 + SIDE):
        for column in range(5, 5 + SIDE):
            tile[row::PITCH, column::PITCH] = 255
    padded = np.zeros((1008, 1008, 3), np.uint8)
    count = -(-side // 1008)
    wide = np.tile(tile, (3, 3, 1))

    def tiles():
        for i in range(count):
            for j in range(count):
                top, left = i * 1008 % PITCH, j * 1008 % PITCH
                padded[:] = wide[top : top + 1008, left : left + 1008]
                yield padded

    tifffile.imwrite(
        path, tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(1008, 1008), compression="zlib",
        photometric="rgb",
    )  # fmt: skip


def predict(image: Path, out: Path, save: str, memory: str) -> dict:
    """The prediction itself, in this process, with its peak memory."""
    import resource

    import torch

    import saccade
    from saccade.data import ClassTable
    from saccade.inference import Job, PredictionConfig, SamplingOptions, predict_image
    from saccade.inference.options import parse_memory

    class Light(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            light = pixels.mean(1, keepdim=True)
            return torch.cat([-light, light], 1)

    model = saccade.Segmenter(saccade.UniformSampler((500, 500)), Light(), classes=2).eval()
    sampling = SamplingOptions(
        mode="tiles", size=(500, 500), tile=(500, 500), overlap=0, memory=parse_memory(memory), skip=False
    )
    table = ClassTable(("background", "square"), (0, 1), ((0, 0, 0), (255, 255, 255)))
    job = Job(image, out / "squares.ome.tif", tuple(word for word in save.split(",") if word != "labels"))
    begun, processor = time.perf_counter(), time.process_time()
    predict_image(model, job, PredictionConfig(table, sampling=sampling))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "processor_seconds": round(time.process_time() - processor, 1), "peak_mib": round(peak),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--memory", default="3GB")
    parser.add_argument("--save", nargs="+", default=["labels", "labels,table,polygons"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        within, to = args.inside
        print(json.dumps(predict(within, to, args.save[0], args.memory)))
        return
    side = math.isqrt(args.objects) * PITCH
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "squares.tif"
        make_image(image, side)
        for number, save in enumerate(args.save):
            out = Path(folder) / f"out{number}"
            out.mkdir()
            told = ["--save", save, "--memory", args.memory, "--inside", str(image), str(out)]
            done = subprocess.run([sys.executable, __file__, *told], stdout=subprocess.PIPE, check=True)
            row = {"objects": args.objects, "side": side, "save": save, "memory": args.memory}
            row |= json.loads(done.stdout.splitlines()[-1])
            for table in out.glob("*_objects.csv"):
                with table.open() as file:
                    areas = [int(line["pixels"]) for line in csv.DictReader(file)]
                row |= {"rows": len(areas), "areas_exact": set(areas) == {SIDE * SIDE}}
            for polygons in out.glob("*_polygons.*"):
                row |= {"polygon_mb": round(polygons.stat().st_size / 1e6)}
            print(json.dumps(row), flush=True)
            rows.append(row)
    if args.json:
        args.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
