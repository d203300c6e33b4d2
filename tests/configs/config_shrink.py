"""A published configuration made small: the same sampler, losses and schedule on a few pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import saccade

MAKER = Path(__file__).resolve().parents[2] / "configs"
CONFIGS = Path(saccade.__file__).parent / "configs"
FAKES = {
    "Cityscapes": "cityscapes",
    "DeepGlobe": "deepglobe",
    "PCa-Histo (not public) or other slides": "slides",
    "ApolloScape": "apolloscape",
    "Synthia": "synthia",
    "Supervisely Person": "supervisely",
    "Gleason 2019": "gleason2019",
}
"""The made-up data set in the layout of each that the experiments need."""

SMALLEST = 4


def shrunk(options: dict[str, Any], by: int = 16) -> list[str]:
    """Overrides that bring every length to a ``by``-th, the network to a tiny one, the training to a step."""
    sampler = options["sampler"]
    overrides = ["network.name=small:2", "network.pretrained=false", "boundary.width=4"]
    overrides += ["training.batch_size=2", "training.epochs=1", "training.first_stage_epochs=1"]
    for key in ("size", "thumbnail", "density"):
        if key in sampler:
            overrides.append(f"sampler.{key}={_smaller(sampler[key], by)}")
    if "radius" in sampler:
        overrides.append(f"sampler.radius={max(1, sampler['radius'] // by)}")
    if "blur" in sampler:
        overrides.append(f"sampler.blur={sampler['blur'] / by}")
    foveation = options.get("foveation", {})
    if "bank" in foveation:
        bank = [SMALLEST + 4 * place for place in range(len(foveation["bank"]))]
        overrides += [f"foveation.bank={bank}", f"sampler.size={bank[0]}x{bank[0]}", "foveation.shrink=2"]
        overrides += ["foveation.visits=1", "foveation.stride=1"]
    crop = options.get("data", {}).get("crop", "")
    if crop[:1].isdigit():
        overrides.append(f"data.crop={_smaller(crop, 64)}")
    return overrides


def _smaller(size: str, by: int) -> str:
    return "x".join(str(max(SMALLEST, int(side) // by)) for side in size.split("x"))
