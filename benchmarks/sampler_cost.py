"""What learned sampling costs above uniform sampling, in a whole prediction of an image in memory.

    python benchmarks/sampler_cost.py                                           small and unet:resnet18
    python benchmarks/sampler_cost.py --networks hrnetv2:w48 --sizes 64x128
    python benchmarks/sampler_cost.py --run RUN --image IMAGE                   a trained run on a photograph

Both segmenters have the same network and see the same image, one thread, turn by turn; figures are the least
of all turns, of processor time. The parts are measured by themselves, so their sum is not exactly the whole.
Without ``--run`` weights are random, which changes where samples lie and what labels come out, not how much
is computed, but for unwarping, which spares pixels between corners of one class.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import saccade
from harness import current_commit, surroundings
from saccade.geometry import parse_size
from saccade.networks import build_network
from saccade.samplers import DensityOf
from saccade.samplers.images import read_images, thumbnails
from saccade.warp import Pyramid, unwarp_labels

CLASSES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", default="small,unet:resnet18")
    parser.add_argument("--sizes", default="64x128,128x256")
    parser.add_argument("--density-net", default="small:8")
    parser.add_argument("--thumbnail", help="its size, default that of the samples")
    parser.add_argument("--image-size", default="1024x2048")
    parser.add_argument("--run", type=Path, help="its network and density net, instead of random ones")
    parser.add_argument("--image", type=Path, help="instead of a made-up one")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    image = image_of(args)
    networks = ["run"] if args.run else args.networks.split(",")
    cases = []
    for name in networks:
        for size in map(parse_size, args.sizes.split(",")):
            case = {
                "network": name,
                "size": list(size),
                **measured(*segmenters(args, name, size), image, args.turns),
            }
            cases.append(case)
            print(told(case), flush=True)
    if args.json:
        where = {**surroundings({}), "commit": current_commit(), "image": list(image.shape[-2:])}
        args.json.write_text(json.dumps({"measured_on": where, "cases": cases}, indent=1) + "\n")


def image_of(args: argparse.Namespace) -> torch.Tensor:
    """(1, 3, H, W) uint8: the given one, or smooth blobs with noise."""
    if args.image:
        from PIL import Image

        with Image.open(args.image) as file:
            pixels = torch.frombuffer(bytearray(file.convert("RGB").tobytes()), dtype=torch.uint8)
            return pixels.view(file.height, file.width, 3).permute(2, 0, 1)[None].contiguous()
    height, width = parse_size(args.image_size)
    draw = torch.Generator().manual_seed(0)
    blobs = torch.randn(1, 3, height // 64, width // 64, generator=draw)
    blobs = nn.functional.interpolate(blobs, (height, width), mode="bicubic", align_corners=True)
    noise = torch.randn(1, 3, height, width, generator=draw)
    return (128 + 60 * blobs + 8 * noise).clamp(0, 255).to(torch.uint8)


def segmenters(
    args: argparse.Namespace, name: str, size: tuple[int, int]
) -> tuple[saccade.Segmenter, saccade.Segmenter]:
    """One that learned where to look and one that looks evenly, of the same network."""
    torch.manual_seed(0)
    if args.run:
        of_run = saccade.load(args.run)
        network, net = of_run.network, of_run.sampler.net
    else:
        network, net = build_network(name, CLASSES), DensityOf(build_network(args.density_net, 1))
    thumbnail = parse_size(args.thumbnail) if args.thumbnail else None
    sampler = saccade.DeformationSampler(size, thumbnail_size=thumbnail, net=net)
    learned = saccade.Segmenter(sampler, network).eval()
    return learned, saccade.Segmenter(saccade.UniformSampler(size), network).eval()


@torch.no_grad()
def measured(
    learned: saccade.Segmenter, uniform: saccade.Segmenter, image: torch.Tensor, turns: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of whole predictions, and of their parts."""
    calls: dict[str, Callable[[], object]] = {
        "learned": lambda: learned.predict(image),
        "uniform": lambda: uniform.predict(image),
    }
    view, size = learned.view(Pyramid.of(image)), learned.sampler.size
    small = thumbnails([view], learned.sampler.thumbnail_size)
    density = learned.sampler.net(small)
    calls["thumbnail"] = lambda: thumbnails([view], learned.sampler.thumbnail_size)
    calls["density net"] = lambda: learned.sampler.net(small)
    calls["grid"] = lambda: learned.sampler.to_grid(density, size)
    for who, segmenter in (("learned", learned), ("uniform", uniform)):
        seen = segmenter.view(Pyramid.of(image))
        grids = segmenter.sampler.glimpse([seen]).grids
        pixels = read_images([seen], grids, antialias=segmenter.antialias)
        scores = segmenter.score(pixels)
        calls[f"reading, {who}"] = lambda s=seen, g=grids, a=segmenter.antialias: read_images(
            [s], g, antialias=a
        )
        calls[f"network, {who}"] = lambda s=segmenter, p=pixels: s.score(p)
        calls[f"unwarping, {who}"] = lambda s=scores, g=grids: unwarp_labels(s, g, image.shape[-2:])
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(turns):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            least[name] = min(least[name], 1000 * (time.thread_time() - start))
    return {"milliseconds": {name: round(value, 3) for name, value in least.items()}}


def told(case: dict) -> str:
    spent = case["milliseconds"]
    learned, uniform = spent["learned"], spent["uniform"]
    head = f"{case['network']} {'x'.join(map(str, case['size']))}: {learned:.2f} ms, uniform {uniform:.2f} ms"
    parts = ", ".join(
        f"{name} {value:.2f}" for name, value in spent.items() if name not in ("learned", "uniform")
    )
    return f"{head}, {learned / uniform:.3f} times ({parts})"


if __name__ == "__main__":
    main()
