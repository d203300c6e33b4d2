"""Times networks in PyTorch and in onnxruntime on the CPU: ``python benchmarks/engines.py [--runs N]``.

Seconds of processor time on one thread, the least of some runs that take turns, so that other programs on the
machine count for little. Prints a table in Markdown; above 1 the second is faster.
"""

from __future__ import annotations

import argparse
import time

import torch

from saccade import Segmenter, UniformSampler
from saccade.inference.engine import OnnxNetworks
from saccade.networks import build_network

NETWORKS = ("small", "unet:resnet18", "fpn:tu-efficientnet_lite0")
SIZES = ((64, 128), (256, 512))
CLASSES = 8


@torch.no_grad()
def seconds(segmenter: Segmenter, pixels: torch.Tensor) -> float:
    start = time.process_time()
    segmenter.score(pixels)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    print("| network | view | torch, ms | onnx, ms | torch / onnx |\n|---|---|---|---|---|")
    for name in NETWORKS:
        ours = Segmenter(UniformSampler((8, 8)), build_network(name, CLASSES), classes=CLASSES).eval()
        theirs = OnnxNetworks.of(ours, CLASSES).segmenter(ours)
        for rows, columns in SIZES:
            pixels = torch.randn(1, 3, rows, columns)
            inputs = [pixels.contiguous(memory_format=each._layout) for each in (ours, theirs)]
            pairs = [(seconds(ours, inputs[0]), seconds(theirs, inputs[1])) for _ in range(runs + 2)][2:]
            first, second = (min(pair[side] for pair in pairs) * 1e3 for side in (0, 1))
            print(f"| {name} | {rows}x{columns} | {first:.1f} | {second:.1f} | {first / second:.2f} |")


if __name__ == "__main__":
    main()
