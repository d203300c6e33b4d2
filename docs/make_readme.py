"""The picture of the README: where the samples of a trained run lie on a photograph, and the labels.

python docs/make_readme.py RUN IMAGE docs/images/readme.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from saccade.figures import overlay, samples_on
from saccade.inference import Job, answer
from saccade.training import load_run

GAP = 12


def main(run_folder: Path, image: Path, out: Path) -> None:
    run = load_run(run_folder)
    given = answer(run.segmenter, Job(image, out))
    colours = np.asarray(run.classes.colours, np.uint8)
    half = (given.image.shape[1] // 2, given.image.shape[0] // 2)
    grid = given.found.views.grids[0].numpy()
    small = np.asarray(Image.fromarray(given.image).resize(half))
    left = samples_on(small, grid)
    right = np.asarray(Image.fromarray(overlay(given.image, given.labels, colours)).resize(half))
    gap = np.full((left.shape[0], GAP, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([left, gap, right], axis=1)).save(out, quality=85)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
