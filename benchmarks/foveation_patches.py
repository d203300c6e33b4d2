"""Patches of D fields of view at N locations, against a loop that crops and resizes with PyTorch.

    python benchmarks/foveation_patches.py [--runs 7] [--out benchmarks/results/foveation_patches.json]

The loop takes each crop from the image (mirrored at the border beforehand, which is not timed) and resizes it
with torch.nn.functional.interpolate, bilinear and anti-aliased, or by area. Ours reads from the pyramid of
the image; a case says what building that costs too, once for all patches of an image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from harness import Case, current_commit, keep, machine_peaks, measure, show, surroundings
from saccade.grids import patch_grids
from saccade.warp.pyramid import Pyramid
from saccade.warp.sampling import sample

SIZE = (2336, 3504)
BANK = (192, 320, 512, 768, 1120)
PATCH = (64, 64)
RESULTS = Path(__file__).parent / "results" / "foveation_patches.json"


def ours(pyramid: Pyramid, centres: Tensor) -> Tensor:
    grids, _ = patch_grids(centres, BANK, PATCH, pyramid.size)
    return sample(pyramid, grids.flatten(0, 1), antialias=True)


def cropped(mirrored: Tensor, centres: Tensor, margin: int, **how: Any) -> Tensor:
    """(N * D, 3, h, w) of a floating image with a mirrored margin."""
    rows = ((centres[:, 1] + 1) / 2 * (SIZE[0] - 1)).round().long().tolist()
    columns = ((centres[:, 0] + 1) / 2 * (SIZE[1] - 1)).round().long().tolist()
    patches = []
    for row, column in zip(rows, columns, strict=True):
        for width in BANK:
            top, left = row + margin - width // 2, column + margin - width // 2
            crop = mirrored[:, :, top : top + width, left : left + width]
            patches.append(F.interpolate(crop, PATCH, **how))
    return torch.cat(patches)


def difference(pyramid: Pyramid, mirrored: Tensor, margin: int, centres: Tensor) -> float:
    """Mean absolute difference in grey levels of ours and of the area loop: both read the same patches.

    A crop of an even width lies half a pixel before its middle pixel, so ours does too.
    """
    inner = centres * 0.4
    sides = torch.tensor([SIZE[1] - 1, SIZE[0] - 1])
    between = (((inner + 1) / 2 * sides).round() - 0.5) / sides * 2 - 1
    return float((ours(pyramid, between) - cropped(mirrored, inner, margin, mode="area")).abs().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, SIZE[0] // 8, SIZE[1] // 8)
    image = (F.interpolate(coarse, SIZE, mode="bilinear") * 255).to(torch.uint8)
    pyramid, margin = Pyramid.of(image), BANK[-1] // 2 + 1
    mirrored = F.pad(image.float(), [margin] * 4, mode="reflect")
    antialiased = {"mode": "bilinear", "antialias": True, "align_corners": False}
    cases = []
    for count in (8, 32):
        centres = torch.rand(count, 2) * 2 - 1
        limit = f"{count * len(BANK) * PATCH[0] * PATCH[1] * 3 * 4 / 1e6:.2f} MB written"
        for name, how in (("bilinear, anti-aliased", antialiased), ("area", {"mode": "area"})):
            cases.append(
                Case(
                    f"5 patches of 64x64 at {count} locations of 2336x3504 ({name})",
                    lambda centres=centres: ours(pyramid, centres),
                    f"crops and F.interpolate, {name}",
                    lambda centres=centres, how=how: cropped(mirrored, centres, margin, **how),
                    limit,
                    5.0,
                )
            )
    centres = torch.rand(32, 2) * 2 - 1
    cases.append(
        Case(
            "the same at 32 locations, the pyramid built anew",
            lambda: ours(Pyramid.of(image), centres),
            "crops and F.interpolate, bilinear, anti-aliased",
            lambda: cropped(mirrored, centres, margin, **antialiased),
            f"{32 * 5 * 4096 * 12 / 1e6 + image.numel() / 3e6:.2f} MB written",
            None,
        )
    )
    print(
        f"mean difference to the area loop: {difference(pyramid, mirrored, margin, centres):.3f} grey levels"
    )
    peaks, commit = machine_peaks(), current_commit()
    outcomes = [measure(case, args.runs, peaks, commit) for case in cases]
    show(outcomes, Console(width=160))
    keep(outcomes, args.out, surroundings(peaks))


if __name__ == "__main__":
    main()
